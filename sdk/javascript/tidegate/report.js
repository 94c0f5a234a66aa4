// What an evaluator measured, told row by row.

/** The terms of every metric. Each list has one entry a row of the scored batch, in its order; NaN = the row does not count. */
export class Report {
  #report;

  constructor(report) {
    this.#report = report;
  }

  /** The metric is the mean of `values`. */
  mean(metric, values) {
    this.#report.mean(metric, values);
  }

  /** The metric is the sum of `numerators` over the sum of `denominators`. */
  ratio(metric, numerators, denominators) {
    this.#report.ratio(metric, numerators, denominators);
  }

  /** The metric is the mean over the classes of each class's ratio; call once a class. A class with 0/0 is left out. */
  classRatio(metric, name, numerators, denominators) {
    this.#report.classRatio(metric, name, numerators, denominators);
  }

  /** The metric is the `q`-quantile of `values`, `q` between 0 and 1. */
  quantile(metric, q, values) {
    this.#report.quantile(metric, q, values);
  }

  /** The metric is the area under the ROC curve of `values` against `labels`, a Uint8Array of 0 and 1. */
  ranking(metric, values, labels) {
    this.#report.ranking(metric, values, labels);
  }

  /** The metric is a number without terms, made from `count` rows; only threshold rules can use it. */
  opaque(metric, value, count) {
    this.#report.opaque(metric, value, BigInt(count));
  }
}
