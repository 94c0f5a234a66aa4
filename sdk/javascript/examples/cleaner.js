// A cleaner that quarantines rows in which one column is not a whole number.
import { Issues } from "./tidegate.js";

export default class Whole {
  constructor({ column }) {
    if (column === "") throw new Issues().push("/column", "the column has no name");
    this.column = column;
  }

  clean(rows, edit) {
    for (const window of rows.windows()) {
      const { values } = window.column(this.column).f64();
      // A missing value reads as 0 and stays; so does NaN, which is for another cleaner to judge.
      const whole = Uint8Array.from(values, (value) => Number(Number.isNaN(value) || value % 1 === 0));
      edit.keep(window, whole, "not-whole");
    }
  }
}
