// What only an alerter imports: requests to the hosts that the operator granted, and the time.

export { nowUs } from "tidegate:plugin/clock@0.1.0";
export { send } from "tidegate:plugin/http@0.1.0";
