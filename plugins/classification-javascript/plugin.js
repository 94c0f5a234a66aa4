// Evaluator `classification` in JavaScript: accuracy, macro F1, log loss and, for one positive class, precision, recall and F1.
//
// It tells terms, one a row, as the one in Rust does. A row without a label does not count: all its terms are NaN.

import { Failure } from "./tidegate.js";
import { Scored } from "./scored.js";

// The smallest probability that log loss believes: a model that is sure and wrong costs 34.5 nats, not infinity.
const PROBABILITY_MIN = 1e-15;

export default class Classification {
  constructor({ positive }) {
    this.positive = positive;
  }

  metrics() {
    const metric = (name, unit, higherIsBetter) => ({ name, unit, higherIsBetter });
    const all = [metric("accuracy", "1", true), metric("macro_f1", "1", true), metric("log_loss", "nat", false)];
    if (this.positive === undefined) return all;
    return all.concat(["precision", "recall", "f1"].map((name) => metric(name, "1", true)));
  }

  evaluate(rows, report) {
    const scored = new Scored(rows);
    report.mean("accuracy", scored.perRow((label, prediction) => Number(label === prediction)));
    report.mean("log_loss", scored.losses(rows, PROBABILITY_MIN));
    scored.classes.forEach((name, number) => {
      const terms = scored.terms(number);
      report.classRatio("macro_f1", name, terms.hitsTwice, terms.labelsAndPredictions);
    });
    if (this.positive === undefined) return;
    const terms = scored.terms(this.#positiveNumber(scored));
    report.ratio("precision", terms.hits, terms.predictions);
    report.ratio("recall", terms.hits, terms.labels);
    report.ratio("f1", terms.hitsTwice, terms.labelsAndPredictions);
  }

  #positiveNumber({ classes, known }) {
    const number = classes.indexOf(this.positive);
    // Without probability columns the class list is only what occurs, and the positive class need not.
    if (number >= 0 || known === 0) return number;
    const names = classes.map((name) => `\`${name}\``).join(", ");
    throw new Failure(`\`positive\` is \`${this.positive}\`, which is not a class; the classes are ${names}`);
  }
}
