// An evaluator for numbers: the mean absolute error. A row whose label has not come yet does not count.
import { Failure } from "./tidegate.js";

export default class MeanError {
  metrics() {
    return [{ name: "mae", unit: "1", higherIsBetter: false }];
  }

  evaluate(rows, report) {
    const [labels, predictions] = [rows.withRole("label").text(), rows.withRole("prediction").text()];
    const errors = new Float64Array(labels.length).fill(NaN);
    for (let row = 0; row < errors.length; row++) {
      const [label, prediction] = [labels.get(row), predictions.get(row)];
      if (label !== null && prediction !== null) errors[row] = Math.abs(number(label, row) - number(prediction, row));
    }
    report.mean("mae", errors);
  }
}

function number(text, row) {
  const value = Number(text);
  if (text.trim() === "" || Number.isNaN(value)) throw new Failure(`row ${row}: \`${text}\` is not a number`);
  return value;
}
