// Rows to read: a view of a batch that the host owns.

import { Failure } from "./failure.js";

/** Rows of one window of `Batch.windows`. */
export const WINDOW_ROWS = 65_536;

const NONE_MISSING = new Uint8Array(0);

/** Rows that the host lends for one call. Only the columns that are asked for are copied into the plugin. */
export class Batch {
  #rows;
  #infos;

  constructor(rows, infos = rows.columns(), firstRow = 0, rowCount = rows.rowCount()) {
    this.#rows = rows;
    this.#infos = infos;
    /** The number of the first row in the batch that was lent; 0 but in a window. */
    this.firstRow = firstRow;
    /** Number of rows. */
    this.rowCount = rowCount;
  }

  /** The columns, in order. */
  columns() {
    return this.#infos.map((info, index) => new Column(this.#rows, info, index, this.firstRow, this.rowCount));
  }

  /** The column named `name`. */
  column(name) {
    const found = this.columns().find((column) => column.name === name);
    if (found) return found;
    throw new Failure(`there is no column \`${name}\`; the batch has ${this.#infos.map((info) => `\`${info.name}\``).join(", ")}`);
  }

  /** The first column whose role is `role`. */
  withRole(role) {
    const found = this.columns().find((column) => column.role === role);
    if (found) return found;
    throw new Failure(`the batch has no column with the role \`${role}\``);
  }

  /** The same columns in windows of at most WINDOW_ROWS rows: reading a window at a time bounds the plugin's memory. */
  *windows() {
    const end = this.firstRow + this.rowCount;
    for (let start = this.firstRow; start < end; start += WINDOW_ROWS) {
      yield new Batch(this.#rows, this.#infos, start, Math.min(WINDOW_ROWS, end - start));
    }
  }
}

/** One column of a batch or of a window of it. */
export class Column {
  #rows;
  #count;

  constructor(rows, info, index, start, count) {
    this.#rows = rows;
    this.#count = count;
    this.index = index;
    this.start = start;
    /** Its name. */
    this.name = info.name;
    /** Its type: `f64`, `i64`, `bool`, `utf8`, `timestamp-us`, or a word of a later host. */
    this.dtype = info.dtype;
    /** Its role: `id`, `time`, `label`, `feature`, `prediction`, `probability:<class>`, … */
    this.role = info.role;
  }

  /** Its values in a Float64Array. */
  f64() {
    return new Values(this.#rows.readF64(this.index, this.start, this.#count), this.#valid());
  }

  /** Its values in a BigInt64Array: of an `i64` or a `timestamp-us` column. */
  i64() {
    return new Values(this.#rows.readI64(this.index, this.start, this.#count), this.#valid());
  }

  /** Its values in a Uint8Array of 0 and 1. */
  bool() {
    if (this.dtype !== "bool") throw new Failure(`column \`${this.name}\` is \`${this.dtype}\`; expected \`bool\``);
    return new Values(this.#rows.readRaw(this.index, this.start, this.#count), this.#valid());
  }

  /** Its values as text. */
  text() {
    const { offsets, bytes } = this.#rows.readText(this.index, this.start, this.#count);
    return new Text(offsets, bytes, this.#valid());
  }

  #valid() {
    return this.#rows.readValid(this.index, this.start, this.#count);
  }
}

/** Values of one column. `values` is a typed array in which a missing value reads as 0; `valid` has one byte a row, or is empty. */
export class Values {
  constructor(values, valid = NONE_MISSING) {
    this.values = values;
    this.valid = valid;
  }

  /** Number of rows. */
  get length() {
    return this.values.length;
  }

  /** Whether `row` has a value. */
  isPresent(row) {
    return row < this.values.length && (this.valid.length === 0 || this.valid[row] !== 0);
  }

  /** The value of `row`; null when it is missing or outside. */
  get(row) {
    return this.isPresent(row) ? this.values[row] : null;
  }

  /** Replaces the value of `row`; null makes it missing. */
  set(row, value) {
    if (row >= this.values.length) throw new RangeError(`row ${row} of ${this.values.length}`);
    if (value !== null) {
      this.values[row] = value;
      if (this.valid.length > 0) this.valid[row] = 1;
      return;
    }
    if (this.valid.length === 0) this.valid = new Uint8Array(this.values.length).fill(1);
    this.valid[row] = 0;
  }

  *[Symbol.iterator]() {
    for (let row = 0; row < this.values.length; row++) yield this.get(row);
  }
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Text of one column: n + 1 offsets into UTF-8 bytes. A row becomes a string only when it is asked for. */
export class Text {
  constructor(offsets, bytes, valid) {
    this.offsets = offsets;
    this.bytes = bytes;
    this.valid = valid;
  }

  /** Number of rows. */
  get length() {
    return Math.max(this.offsets.length - 1, 0);
  }

  /** The text of `row`; null when it is missing or outside. */
  get(row) {
    if (row >= this.length || (this.valid.length > 0 && this.valid[row] === 0)) return null;
    return utf8.decode(this.bytes.subarray(this.offsets[row], this.offsets[row + 1]));
  }

  *[Symbol.iterator]() {
    for (let row = 0; row < this.length; row++) yield this.get(row);
  }
}
