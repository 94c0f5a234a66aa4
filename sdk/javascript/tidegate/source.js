// What only a source imports: batches to make, byte streams that the operator lends, requests, the time.

export { BatchBuilder, finished, idle, rows } from "./pull.js";
export { entries, open } from "tidegate:plugin/inputs@0.1.0";
export { nowUs } from "tidegate:plugin/clock@0.1.0";
export { send } from "tidegate:plugin/http@0.1.0";
