// A class as the alerter of its component: `notify(alert)`, which returns a reference or nothing.

import { guarded } from "./failure.js";
import { hosted } from "./lifecycle.js";

export function exported(Plugin) {
  const { lifecycle, plugin } = hosted(Plugin);
  return { lifecycle, alerter: { notify: guarded((alert) => ({ reference: plugin().notify(alert) })) } };
}
