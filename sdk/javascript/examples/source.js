// A source that counts from 1 to a configured number. Its cursor is the last number it returned, as text.
import { Issues, Values } from "./tidegate.js";
import { BatchBuilder, finished, rows } from "./tidegate/source.js";

export default class Count {
  constructor({ last }) {
    if (last < 1) throw new Issues().push("/last", `\`last\` is ${last}; expected at least 1`);
    this.last = last;
  }

  open(cursor) {
    return new Counting(cursor === null ? 0 : Number(new TextDecoder().decode(cursor)), this.last);
  }
}

class Counting {
  constructor(done, last) {
    this.done = done;
    this.last = last;
  }

  next(rowsMax, _bytesMax) {
    if (this.done === this.last) return finished;
    const end = Math.min(this.last, this.done + rowsMax);
    const numbers = BigInt64Array.from({ length: end - this.done }, (_, row) => BigInt(this.done + 1 + row));
    const builder = new BatchBuilder([{ name: "number", dtype: "i64" }]);
    builder.appendI64(0, new Values(numbers));
    this.done = end;
    return rows(builder, new TextEncoder().encode(String(end)));
  }
}
