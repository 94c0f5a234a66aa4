// How a plugin says that it could not do what it was asked, and how whatever it throws becomes that.

import * as log from "./log.js";

// Added to the code of a refusal of the host, so that it does not look like a code of the plugin's own.
const HOST_CODES = 60_000;

/** The plugin could not do what it was asked. Throw it. */
export class Failure extends Error {
  /**
   * @param {string} message what was being done to which thing, what was found and what was expected
   * @param {{code?: number, retryAfterMs?: number}} [more] the plugin's own number; when a retry may help, in milliseconds
   */
  constructor(message, { code = 0, retryAfterMs } = {}) {
    super(message);
    this.name = "Failure";
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Everything wrong with a configuration. Collect with `push`, then `throwIfAny`. */
export class Issues extends Error {
  constructor() {
    super("the configuration has issues");
    this.name = "Issues";
    this.list = [];
  }

  /** One thing wrong; `pointer` is a JSON pointer, "" for the whole. */
  push(pointer, message) {
    this.list.push({ pointer, message });
    return this;
  }

  /** Throws itself when there is an issue. */
  throwIfAny() {
    if (this.list.length > 0) throw this;
  }

  /** A JSON pointer made of keys, escaped as RFC 6901 says. */
  static pointer(...keys) {
    return keys.map((key) => `/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
  }
}

/** A failure as it crosses to the host. An error that nobody threw on purpose leaves its stack in the log. */
export function lowered(error) {
  if (error instanceof Failure) {
    const { code, message, retryAfterMs } = error;
    const retryable = retryAfterMs !== undefined;
    return { code, message, retryable, retryAfterMs: retryable ? BigInt(Math.round(retryAfterMs)) : undefined };
  }
  const refused = error?.payload;
  if (typeof refused?.code === "number" && typeof refused.message === "string") {
    const { message, retryable = false, retryAfterMs } = refused;
    return { code: Math.min(HOST_CODES + refused.code, 65_535), message, retryable, retryAfterMs };
  }
  log.error(`${error}\n${error?.stack ?? ""}`);
  return { code: 0, message: String(error), retryable: false, retryAfterMs: undefined };
}

/** A function that fails with what it throws, where an uncaught error would stop the whole instance. */
export function guarded(step) {
  return (...given) => {
    try {
      return step(...given);
    } catch (error) {
      throw lowered(error);
    }
  };
}
