// Changes to a batch: asked for by a cleaner, made by the host when the call has succeeded.

import { Failure } from "./failure.js";

/**
 * The edits of one batch. They apply together when `clean` returns and are dropped when it throws.
 *
 * `clip`, `fillMissing`, `keepPresent` and `keepBetween` run in the host at full speed and touch the whole column, also when it was
 * taken from a window; `write…` and `keep` act on the window's rows.
 */
export class Edit {
  #editor;

  constructor(editor) {
    this.#editor = editor;
  }

  /** Values below `low` become `low`, above `high` become `high`; a missing value stays. A bound may be infinite. */
  clip(column, low, high) {
    this.#editor.clip(column.index, low, high);
  }

  /** Nulls and NaNs become `value`. */
  fillMissing(column, value) {
    this.#editor.fillMissing(column.index, value);
  }

  /** Rows in which the column is null or NaN are quarantined under `reason`, one that the manifest lists. */
  keepPresent(column, reason) {
    this.#editor.keepPresent(column.index, reason);
  }

  /** Rows in which the column is below `low` or above `high` are quarantined under `reason`; a missing value stays. */
  keepBetween(column, low, high, reason) {
    this.#editor.keepBetween(column.index, low, high, reason);
  }

  /** Rows of `rows` whose byte in `mask` is 0 are quarantined under `reason`; masks of several calls are intersected. */
  keep(rows, mask, reason) {
    if (mask.length !== rows.rowCount) throw new Failure(`the mask has ${mask.length} entries for ${rows.rowCount} rows`);
    this.#editor.keep(rows.firstRow, ArrayBuffer.isView(mask) ? mask : Uint8Array.from(mask, Number), reason);
  }

  /** Overwrites the rows of `column` with `values`, a `Values` over a Float64Array. */
  writeF64(column, { values, valid }) {
    this.#editor.writeF64(column.index, column.start, values, valid);
  }

  /** Overwrites the rows of `column` with `values`, a `Values` over a BigInt64Array. */
  writeI64(column, { values, valid }) {
    this.#editor.writeI64(column.index, column.start, values, valid);
  }

  /** Overwrites the rows of `column` with `text`, a `TextBuilder`. */
  writeText(column, text) {
    this.#editor.writeText(column.index, column.start, text.values(), text.valid());
  }

  /** Adds a column of `values`, one a row of the whole batch, where the host lets this plugin do so. */
  addF64(name, { values, valid }) {
    const index = this.#editor.addColumn({ name, dtype: "f64", role: "feature", nullable: valid.length > 0 });
    this.#editor.writeF64(index, 0, values, valid);
  }

  /** Takes the column away, where the host lets this plugin do so. */
  dropColumn(column) {
    this.#editor.dropColumn(column.index);
  }
}
