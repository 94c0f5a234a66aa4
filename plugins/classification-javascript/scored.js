// A scored batch as class numbers, and the per-row terms made of them.

import { Failure } from "./tidegate.js";

// What a class number is when the row has none.
const NONE = -2;
const PROBABILITY = "probability:";

export class Scored {
  /** Reads the columns with the roles `label` and `prediction`. */
  constructor(rows) {
    const withProbability = rows.columns().filter((column) => column.role.startsWith(PROBABILITY));
    /** The classes: those with a probability column, in order, then others that occur, sorted. */
    this.classes = withProbability.map((column) => column.role.slice(PROBABILITY.length));
    /** Classes with a probability column. */
    this.known = this.classes.length;
    const [labels, predictions] = [[], []];
    for (const window of rows.windows()) {
      const [label, prediction] = [[...window.withRole("label").text()], [...window.withRole("prediction").text()]];
      label.forEach((found, row) => {
        if (found !== null && prediction[row] === null) {
          throw new Failure(`row ${window.firstRow + row} has a label but no prediction`);
        }
      });
      for (const found of label) labels.push(found);
      for (const found of prediction) predictions.push(found);
    }
    const numbers = new Map(this.classes.map((name, number) => [name, number]));
    const others = new Set([...labels, ...predictions].filter((name) => name !== null && !numbers.has(name)));
    // By name, so that the order of rows does not matter.
    for (const name of [...others].sort(byCodePoint)) {
      numbers.set(name, this.classes.length);
      this.classes.push(name);
    }
    const numbered = (names) => Int32Array.from(names, (name) => (name === null ? NONE : numbers.get(name)));
    this.labels = numbered(labels);
    this.predictions = numbered(predictions);
  }

  /** `term(label, prediction)` of every row with a label; NaN for the others. */
  perRow(term) {
    const { labels, predictions } = this;
    const terms = new Float64Array(labels.length);
    for (let row = 0; row < terms.length; row++) {
      terms[row] = labels[row] === NONE ? NaN : term(labels[row], predictions[row]);
    }
    return terms;
  }

  /** The terms of one class. */
  terms(number) {
    const hit = (label, prediction) => Number(label === number && prediction === number);
    return {
      hits: this.perRow(hit),
      hitsTwice: this.perRow((label, prediction) => 2 * hit(label, prediction)),
      labels: this.perRow((label) => Number(label === number)),
      predictions: this.perRow((_, prediction) => Number(prediction === number)),
      labelsAndPredictions: this.perRow((label, prediction) => Number(label === number) + Number(prediction === number)),
    };
  }

  /**
   * -ln of the probability that the true class was given, at least `least`; a class without a probability column was given none.
   *
   * All NaN when the model gave no probabilities at all.
   */
  losses(rows, least) {
    if (this.known === 0) return new Float64Array(this.labels.length).fill(NaN);
    const losses = this.perRow(() => -Math.log(least));
    const columns = rows.columns().filter((column) => column.role.startsWith(PROBABILITY));
    columns.forEach((column, number) => {
      const probabilities = column.f64();
      for (let row = 0; row < losses.length; row++) {
        if (this.labels[row] !== number) continue;
        const probability = probabilities.get(row);
        if (probability === null || !(probability >= 0 && probability <= 1)) {
          const found = probability ?? "nothing";
          throw new Failure(`row ${row} of column \`${column.name}\` holds ${found}; expected a probability between 0 and 1`);
        }
        losses[row] = -Math.log(Math.max(probability, least));
      }
    });
    return losses;
  }
}

/** The order of the UTF-8 bytes, which `<` is not: it compares halves of surrogate pairs. */
function byCodePoint(left, right) {
  const [some, others] = [[...left], [...right]];
  for (let at = 0; at < Math.min(some.length, others.length); at++) {
    const difference = some[at].codePointAt(0) - others[at].codePointAt(0);
    if (difference !== 0) return difference;
  }
  return some.length - others.length;
}
