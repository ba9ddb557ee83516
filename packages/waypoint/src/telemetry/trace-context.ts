// Owns trace context: what a request brings (W3C, B3), what it leaves with, and whether it is sampled. Pure.
import { fieldValue, type Fields } from "@ambit/http";

export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16: of the span of this request here. */
  readonly spanId: string;
  /** Of the caller's span; undefined: this is the first. */
  readonly parentId: string | undefined;
  readonly sampled: boolean;
}

/** Random of that many bytes, in hexadecimal. */
export type RandomHex = (bytes: number) => string;

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
const B3_SINGLE = /^([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d]))?(?:-[0-9a-f]{16})?$/;
const HEX64 = /^[0-9a-f]{16}$/;
const HEX64_OR_128 = /^[0-9a-f]{16}(?:[0-9a-f]{16})?$/;
const ZERO = /^0+$/;

type Incoming = { readonly traceId: string; readonly parentId: string; readonly sampled: boolean | undefined } | { readonly traceId: undefined; readonly sampled: boolean | undefined };

/** W3C first, then B3 single, then B3 multi. What is malformed counts as not there. A caller's decision stands; else chance decides. */
export function traceContextOf(fields: Fields, samplingPercent: number, random: () => number, hex: RandomHex): TraceContext {
  const given = incoming(fields);
  const forced = fieldValue(fields, "x-envoy-force-trace") !== undefined && fieldValue(fields, "x-request-id") !== undefined && given.traceId === undefined;
  const sampled = given.sampled ?? (forced || random() * 100 < samplingPercent);
  return given.traceId === undefined
    ? { traceId: hex(16), spanId: hex(8), parentId: undefined, sampled }
    : { traceId: given.traceId, spanId: hex(8), parentId: given.parentId, sampled };
}

function incoming(fields: Fields): Incoming {
  const w3c = TRACEPARENT.exec(fieldValue(fields, "traceparent") ?? "");
  if (w3c !== null && !ZERO.test(w3c[1] ?? "0") && !ZERO.test(w3c[2] ?? "0")) return { traceId: w3c[1] ?? "", parentId: w3c[2] ?? "", sampled: (Number.parseInt(w3c[3] ?? "0", 16) & 1) === 1 };
  const single = fieldValue(fields, "b3");
  if (single === "0" || single === "1" || single === "d") return { traceId: undefined, sampled: single !== "0" };
  const b3 = B3_SINGLE.exec(single ?? "");
  if (b3 !== null) return { traceId: (b3[1] ?? "").padStart(32, "0"), parentId: b3[2] ?? "", sampled: b3[3] === undefined ? undefined : b3[3] !== "0" };
  const flags = fieldValue(fields, "x-b3-flags");
  const said = fieldValue(fields, "x-b3-sampled");
  const sampled = flags === "1" ? true : said === undefined ? undefined : said === "1" || said === "true";
  const traceId = fieldValue(fields, "x-b3-traceid") ?? "";
  const parentId = fieldValue(fields, "x-b3-spanid") ?? "";
  return HEX64_OR_128.test(traceId) && HEX64.test(parentId) ? { traceId: traceId.padStart(32, "0"), parentId, sampled } : { traceId: undefined, sampled };
}

/** Makes our span the caller's in the fields of a request that leaves, in place: in the dialects it came with, W3C if it came with none. `tracestate` and baggage pass. */
export function propagate(fields: string[], context: TraceContext): void {
  let w3c = false;
  let single = false;
  let multi = false;
  let kept = 0;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    if (name === "traceparent") w3c = true;
    else if (name === "b3") single = true;
    else if (name.startsWith("x-b3-") && name !== "x-b3-flags") multi ||= name === "x-b3-traceid" || name === "x-b3-sampled";
    else {
      fields[kept++] = name;
      fields[kept++] = fields[i + 1] ?? "";
    }
  }
  while (fields.length > kept) fields.pop();
  const flag = context.sampled ? "1" : "0";
  if (w3c || (!multi && !single)) fields.push("traceparent", `00-${context.traceId}-${context.spanId}-0${flag}`);
  if (single) fields.push("b3", `${context.traceId}-${context.spanId}-${flag}${context.parentId === undefined ? "" : `-${context.parentId}`}`);
  if (multi) {
    fields.push("x-b3-traceid", context.traceId, "x-b3-spanid", context.spanId, "x-b3-sampled", flag);
    if (context.parentId !== undefined) fields.push("x-b3-parentspanid", context.parentId);
  }
}
