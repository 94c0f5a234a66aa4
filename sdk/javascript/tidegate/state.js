// What a cleaner keeps from batch to batch: keys and values that the host lends, for plugins whose manifest says `state = "keyed"`.
//
// What a call changes is kept together with the rows that it cleaned, or not at all: a call that throws, or is made again, finds what was
// there before. A plugin that remembers in a variable instead loses it with the instance. Keys and values are bytes; a string stands for
// its UTF-8. Whoever has a key a row asks for all of them at once.

import * as host from "tidegate:plugin/state@0.1.0";

const utf8 = new TextEncoder();
const bytes = (value) => (typeof value === "string" ? utf8.encode(value) : value);

/** The value of a key; undefined where there is none. */
export const get = (key) => host.get(bytes(key)) ?? undefined;

/** Sets the value of a key. */
export const set = (key, value) => host.set(bytes(key), bytes(value));

/** Removes a key; nothing happens where it is not there. */
export const remove = (key) => host.remove(bytes(key));

/** The value of a key, as `write` wrote it. */
export function read(key) {
  const value = get(key);
  return value === undefined ? undefined : JSON.parse(new TextDecoder().decode(value));
}

/** Sets the value of a key to anything that can be JSON. */
export const write = (key, value) => set(key, JSON.stringify(value));

/** The value of each key; undefined for one that is not there. */
export function getMany(keys) {
  const { present, values } = host.getMany(joined(keys));
  return Array.from(present, (is, at) => (is ? values.bytes.slice(values.offsets[at], values.offsets[at + 1]) : undefined));
}

/** Sets the value of each key, as many values as keys; of a key that comes twice the last value stays. */
export const setMany = (keys, values) => host.setMany(joined(keys), joined(values));

/** Removes each key. */
export const removeMany = (keys) => host.removeMany(joined(keys));

/** Makes an entry with an empty value for each key that has none; whether it had none, neither in the state nor earlier among `keys`. */
export const addMany = (keys) => Array.from(host.addMany(joined(keys)), (added) => added === 1);

/** Keys or values as they cross to the host: n + 1 offsets into bytes. */
function joined(list) {
  const parts = Array.from(list, bytes);
  const offsets = new Uint32Array(parts.length + 1);
  parts.forEach((part, at) => (offsets[at + 1] = offsets[at] + part.length));
  const all = new Uint8Array(offsets[parts.length]);
  parts.forEach((part, at) => all.set(part, offsets[at]));
  return { offsets, bytes: all };
}
