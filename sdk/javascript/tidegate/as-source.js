// A class as the source of its component: `open(cursor)`, which returns an object with `next(rowsMax, bytesMax)`.

import { guarded } from "./failure.js";
import { hosted } from "./lifecycle.js";
import { lowered } from "./pull.js";

const pull = guarded((reader, rowsMax, bytesMax) => lowered(reader.next(rowsMax, Number(bytesMax))));

// The bindings call the methods of the class, not those of the object.
class Reader {
  #reader;

  constructor(reader) {
    this.#reader = reader;
  }

  next(rowsMax, bytesMax) {
    return pull(this.#reader, rowsMax, bytesMax);
  }
}

export function exported(Plugin) {
  const { lifecycle, plugin } = hosted(Plugin);
  const open = guarded((cursor) => new Reader(plugin().open(cursor ?? null)));
  return { lifecycle, source: { open, Reader } };
}
