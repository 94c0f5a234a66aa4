// Cleaner `range` in JavaScript: clips, drops or blanks values outside a range, as the one in Rust does.
//
// Clipping and dropping are done by the host's kernels. Blanking reads a window of values at a time and writes only windows in
// which something changed. A missing value is never outside.

import { Failure, Issues } from "./tidegate.js";

const ALL = "*";
const REASON = "out-of-range";
const NUMERIC = ["f64", "i64"];

export default class Range {
  constructor({ columns }) {
    const issues = new Issues();
    const names = Object.keys(columns);
    if (names.length === 0) issues.push("/columns", "no column is named; `*` stands for all numeric features");
    for (const name of names) {
      const { low, high } = columns[name];
      if (low === undefined && high === undefined) {
        issues.push(Issues.pointer("columns", name), "a range needs `low`, `high` or both");
      } else if (low > high) {
        issues.push(Issues.pointer("columns", name), `\`low\` is ${low}, above \`high\`, ${high}`);
      }
    }
    issues.throwIfAny();
    this.columns = new Map(names.sort().map((name) => [name, columns[name]]));
  }

  clean(rows, edit) {
    for (const [name, range] of this.columns) {
      if (name === ALL) continue;
      const column = rows.column(name);
      if (!NUMERIC.includes(column.dtype)) throw new Failure(`column \`${name}\` is \`${column.dtype}\`; expected \`f64\` or \`i64\``);
      apply(range, rows, column, edit);
    }
    const rest = this.columns.get(ALL);
    if (!rest) return;
    for (const column of rows.columns()) {
      const isMeant = column.role === "feature" && NUMERIC.includes(column.dtype) && !this.columns.has(column.name);
      if (isMeant) apply(rest, rows, column, edit);
    }
  }
}

function apply({ low = -Infinity, high = Infinity, outside }, rows, column, edit) {
  if (outside === "clip") return edit.clip(column, low, high);
  if (outside === "drop-row") return edit.keepBetween(column, low, high, REASON);
  for (const window of rows.windows()) blank(window.column(column.name), low, high, edit);
}

/** Makes every value of the window outside `low..=high` missing. */
function blank(column, low, high, edit) {
  const isWhole = column.dtype === "i64";
  const cells = isWhole ? column.i64() : column.f64();
  // An integer is compared as the floating-point number next to it, because the bounds are floating-point numbers.
  const values = isWhole ? Float64Array.from(cells.values, Number) : cells.values;
  let isChanged = false;
  for (let row = 0; row < values.length; row++) {
    if ((values[row] < low || values[row] > high) && cells.isPresent(row)) {
      cells.set(row, null);
      isChanged = true;
    }
  }
  if (!isChanged) return;
  if (isWhole) edit.writeI64(column, cells);
  else edit.writeF64(column, cells);
}
