// A class as the source of its component: `open(cursor)`, which returns an object with `next(rowsMax, bytesMax)`.

import { guarded } from "./failure.js";
import { hosted } from "./lifecycle.js";
import { lowered } from "./pull.js";

export function exported(Plugin) {
  const { lifecycle, plugin } = hosted(Plugin);
  class Reader {
    constructor(reader) {
      this.next = guarded((rowsMax, bytesMax) => lowered(reader.next(rowsMax, Number(bytesMax))));
    }

    // The bindings look methods up on the class; each reader has its own.
    next() {}
  }
  const open = guarded((cursor) => new Reader(plugin().open(cursor ?? null)));
  return { lifecycle, source: { open, Reader } };
}
