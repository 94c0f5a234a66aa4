// Text in the making, in the layout in which it crosses to the host: n + 1 offsets into UTF-8 bytes.

const utf8 = new TextEncoder();

/** Text of many rows. */
export class TextBuilder {
  #parts = [];
  #byteCount = 0;
  #offsets = [0];
  #valid = [];
  #missingCount = 0;

  /** Text of each row; null for a missing one. */
  static from(rows) {
    const built = new TextBuilder();
    for (const row of rows) built.push(row);
    return built;
  }

  /** Number of rows. */
  get length() {
    return this.#valid.length;
  }

  /** Appends a row; null for one without a value. */
  push(text) {
    if (text === null) {
      this.#missingCount += 1;
    } else {
      const bytes = utf8.encode(text);
      this.#parts.push(bytes);
      this.#byteCount += bytes.length;
    }
    this.#offsets.push(this.#byteCount);
    this.#valid.push(text === null ? 0 : 1);
  }

  /** As it crosses to the host. */
  values() {
    const bytes = new Uint8Array(this.#byteCount);
    let at = 0;
    for (const part of this.#parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return { offsets: Uint32Array.from(this.#offsets), bytes };
  }

  /** One byte a row, 1 = present; empty when none is missing. */
  valid() {
    return this.#missingCount === 0 ? new Uint8Array(0) : Uint8Array.from(this.#valid);
  }
}
