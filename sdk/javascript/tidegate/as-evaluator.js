// A class as the evaluator of its component: `metrics()` and `evaluate(rows, report)`.

import { Batch } from "./batch.js";
import { guarded } from "./failure.js";
import { hosted } from "./lifecycle.js";
import * as log from "./log.js";
import { Report } from "./report.js";

export function exported(Plugin) {
  const { lifecycle, plugin } = hosted(Plugin);
  const metrics = () => {
    try {
      return plugin().metrics();
    } catch (error) {
      // The interface has no failure here: an evaluator that reports nothing is refused by whoever needs its metrics.
      log.error(`metrics: ${error}\n${error?.stack ?? ""}`);
      return [];
    }
  };
  const evaluate = guarded((rows, report) => void plugin().evaluate(new Batch(rows), new Report(report)));
  return { lifecycle, evaluator: { metrics, evaluate } };
}
