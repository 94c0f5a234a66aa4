// A cleaner that quarantines rows in which one column is not a whole number.

export default class Whole {
  constructor({ column }) {
    this.column = column;
  }

  clean(rows, edit) {
    for (const window of rows.windows()) {
      const { values } = window.column(this.column).f64();
      // A missing value reads as 0 and stays.
      edit.keep(window, Uint8Array.from(values, (value) => Number(value % 1 === 0)), "not-whole");
    }
  }
}
