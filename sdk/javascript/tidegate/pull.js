// What a reader has: rows together with the cursor behind them, nothing now, or nothing ever again.

import { Builder } from "tidegate:plugin/rows@0.1.0";

/** Makes a batch, column by column; an append appends to its column. */
export class BatchBuilder {
  #builder;

  /** @param {{name: string, dtype: string, role?: string, nullable?: boolean}[]} columns */
  constructor(columns) {
    this.#builder = new Builder(columns.map(({ name, dtype, role = "feature", nullable = true }) => ({ name, dtype, role, nullable })));
  }

  /** Appends numbers, a `Values` over a Float64Array, to the column of this number. */
  appendF64(column, { values, valid }) {
    this.#builder.pushF64(column, values, valid);
  }

  /** Appends integers or microseconds, a `Values` over a BigInt64Array. */
  appendI64(column, { values, valid }) {
    this.#builder.pushI64(column, values, valid);
  }

  /** Appends text, a `TextBuilder`. */
  appendText(column, text) {
    this.#builder.pushText(column, text.values(), text.valid());
  }

  /** Takes the builder. */
  finish() {
    return Builder.finish(this.#builder);
  }
}

/** Rows of a `BatchBuilder`, and the cursor (a Uint8Array) behind them: the host commits both or neither. */
export const rows = (builder, cursor) => ({ builder, cursor });

/** Nothing now: ask again after so many milliseconds. */
export const idle = (retryMs) => ({ retryMs });

/** Nothing ever again. */
export const finished = Object.freeze({});

/** What a reader had, as it crosses to the host. */
export function lowered(pull) {
  if (pull.builder) return { tag: "rows", val: { rows: pull.builder.finish(), cursor: pull.cursor } };
  return pull.retryMs === undefined ? { tag: "finished" } : { tag: "idle", val: pull.retryMs };
}
