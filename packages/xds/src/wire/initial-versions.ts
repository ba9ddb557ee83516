// Owns the fast way through a reconnecting client's first request: ten thousand names with their versions, cut out by hand.
// Only the one plain form that every encoder writes is cut; a message with an entry that looks different is left to the library whole.

import { cutFields, REPLACEMENT, varint, varintEnd } from "./fields.ts";

/** Field 5 of DeltaDiscoveryRequest, length-delimited; inside an entry: key (1) and value (2), both strings. */
const ENTRY_TAG = 0x2a;
const KEY_TAG = 0x0a;
const VALUE_TAG = 0x12;

export interface Split {
  readonly versions: Map<string, string>;
  /** The message without what is in `versions`. */
  readonly rest: Uint8Array;
}

export function splitInitialVersions(message: Uint8Array): Split {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  const versions = new Map<string, string>();
  const rest = cutFields(bytes, ENTRY_TAG, (at, end) => cut(bytes, at, end, versions));
  return rest === undefined ? { versions: new Map(), rest: message } : { versions, rest };
}

/** True when the entry was exactly one key and then one value, and has been taken. */
function cut(bytes: Buffer, at: number, end: number, into: Map<string, string>): boolean {
  if (varint(bytes, at + 1) < 0) return false;
  const keyAt = varintEnd();
  if (keyAt >= end || bytes[keyAt] !== KEY_TAG) return false;
  const keyLength = varint(bytes, keyAt + 1);
  const keyStart = varintEnd();
  const valueAt = keyStart + keyLength;
  if (keyLength < 0 || valueAt >= end || bytes[valueAt] !== VALUE_TAG) return false;
  const valueLength = varint(bytes, valueAt + 1);
  const valueStart = varintEnd();
  if (valueLength < 0 || valueStart + valueLength !== end) return false;
  const key = bytes.toString("utf8", keyStart, valueAt);
  const value = bytes.toString("utf8", valueStart, end);
  if (key.includes(REPLACEMENT) || value.includes(REPLACEMENT)) return false;
  into.set(key, value);
  return true;
}
