// Owns the fast way through a large push: its resources, cut out by hand, without the library's objects for tens of thousands of them.
// Only the plain form that every encoder writes is cut; a message with a resource that looks different is left to the library whole.
import { cutFields, fieldEnd, REPLACEMENT, varint, varintEnd } from "./fields.ts";

/** Fields of Resource, all length-delimited. */
const VERSION_TAG = 0x0a;
const BODY_TAG = 0x12;
const NAME_TAG = 0x1a;
const ALIAS_TAG = 0x22;
/** Fields of google.protobuf.Any. */
const ANY_TYPE_TAG = 0x0a;
const ANY_VALUE_TAG = 0x12;
/** Field 2 of DeltaDiscoveryResponse. */
const RESOURCE_TAG = 0x12;

export interface CutResource {
  name: string;
  version: string;
  aliases: readonly string[];
  /** Of the body; undefined: there is none. */
  typeUrl: string | undefined;
  /** Of the body: a view of the message, and no Buffer, whose `slice` would not copy. */
  bytes: Uint8Array;
}

const NONE: readonly string[] = [];
const NO_BYTES = new Uint8Array();

/** `rest` is the message without its `resources`; both are as they came when not all of them could be cut. */
export function splitResources(message: Uint8Array): { readonly resources: CutResource[]; readonly rest: Uint8Array } {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  const resources: CutResource[] = [];
  const texts = new SameTexts();
  const rest = cutFields(bytes, RESOURCE_TAG, (at, end) => {
    varint(bytes, at + 1);
    const resource = cut(bytes, varintEnd(), end, texts);
    if (resource !== undefined) resources.push(resource);
    return resource !== undefined;
  });
  return rest === undefined ? { resources: [], rest: message } : { resources, rest };
}

/** undefined: it is not of the plain form. */
function cut(bytes: Buffer, start: number, end: number, texts: SameTexts): CutResource | undefined {
  const out: CutResource = { name: "", version: "", aliases: NONE, typeUrl: undefined, bytes: NO_BYTES };
  for (let at = start; at < end; ) {
    const next = fieldEnd(bytes, at);
    if (next === undefined || next > end) return undefined;
    varint(bytes, at + 1);
    const value = varintEnd();
    switch (bytes[at]) {
      case NAME_TAG: out.name = bytes.toString("utf8", value, next); break;
      case VERSION_TAG: out.version = bytes.toString("utf8", value, next); break;
      case ALIAS_TAG: out.aliases = [...out.aliases, bytes.toString("utf8", value, next)]; break;
      case BODY_TAG:
        // A body that comes twice is one that is merged.
        if (out.typeUrl !== undefined || !cutBody(bytes, value, next, out, texts)) return undefined;
        break;
      default: return undefined;
    }
    at = next;
  }
  return [out.name, out.version, out.typeUrl ?? "", ...out.aliases].some((t) => t.includes(REPLACEMENT)) ? undefined : out;
}

function cutBody(bytes: Buffer, start: number, end: number, out: CutResource, texts: SameTexts): boolean {
  out.typeUrl = "";
  for (let at = start; at < end; ) {
    const next = fieldEnd(bytes, at);
    if (next === undefined || next > end) return false;
    varint(bytes, at + 1);
    if (bytes[at] === ANY_TYPE_TAG) out.typeUrl = texts.of(bytes, varintEnd(), next);
    else if (bytes[at] === ANY_VALUE_TAG) out.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset + varintEnd(), next - varintEnd());
    else return false;
    at = next;
  }
  return true;
}

/** The type of all bodies of a push is the same text. */
class SameTexts {
  #octets: Buffer = Buffer.alloc(0);
  #text = "";

  of(bytes: Buffer, start: number, end: number): string {
    if (end - start === this.#octets.length && this.#octets.compare(bytes, start, end) === 0) return this.#text;
    this.#octets = bytes.subarray(start, end);
    return (this.#text = bytes.toString("utf8", start, end));
  }
}
