// Messages to the operator, under the plugin's name. `console` ends up here too.

import { write } from "tidegate:plugin/log@0.1.0";

export const error = (message) => write("error", String(message));
export const warn = (message) => write("warn", String(message));
export const info = (message) => write("info", String(message));
export const debug = (message) => write("debug", String(message));
export const trace = (message) => write("trace", String(message));

const joined = (level) => (...words) => level(words.map(String).join(" "));
globalThis.console = {
  error: joined(error),
  warn: joined(warn),
  info: joined(info),
  log: joined(info),
  debug: joined(debug),
  trace: joined(trace),
};
