// An alerter that posts to a web hook. The host owns retries: the plugin only says whether one can help.
import { Failure, Issues, log } from "./tidegate.js";
import { send } from "./tidegate/alerter.js";

export default class Hook {
  constructor({ url }) {
    if (!url.startsWith("https://")) throw new Issues().push("/url", `\`${url}\` is not an https address`);
    this.url = url;
  }

  notify({ key, title, resolved }) {
    const body = new TextEncoder().encode(JSON.stringify({ key, resolved, title }));
    const { status } = send({ method: "POST", url: this.url, headers: [], body });
    if (status >= 200 && status < 300) return undefined;
    if (status === 429 || status >= 500) throw new Failure(`the hook answered ${status}`, { retryAfterMs: 10_000 });
    log.error(`the hook answered ${status}`);
    throw new Failure(`the hook answered ${status}; expected 200`);
  }
}
