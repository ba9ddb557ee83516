// Owns spans on the wire: OTLP's ExportTraceServiceRequest (opentelemetry.proto.collector.trace.v1).
import { create, toBinary } from "@bufbuild/protobuf";
import { otlp } from "@ambit/proto";
import type { SpanRecord } from "./span.ts";

const SERVER = 2;
const ERROR = 2;

/** `resource`: who we are, the same for all. */
export function encodeSpans(spans: readonly SpanRecord[], resource: Readonly<Record<string, string>>): Uint8Array {
  return toBinary(otlp.ExportTraceServiceRequestSchema, create(otlp.ExportTraceServiceRequestSchema, {
    resourceSpans: [{
      resource: { attributes: Object.entries(resource).map(attribute) },
      scopeSpans: [{ scope: { name: "ambit-waypoint", version: "" }, spans: spans.map(spanMessage) }],
    }],
  }));
}

function spanMessage(s: SpanRecord) {
  const start = BigInt(Math.round(s.startedAt * 1000)) * 1000n;
  return {
    traceId: bytes(s.context.traceId), spanId: bytes(s.context.spanId), parentSpanId: s.context.parentId === undefined ? new Uint8Array() : bytes(s.context.parentId),
    name: s.name, kind: SERVER, startTimeUnixNano: start, endTimeUnixNano: start + BigInt(Math.round(s.durationMs * 1e6)),
    attributes: s.attributes.map(attribute), status: { message: "", code: s.error ? ERROR : 0 },
  };
}

function attribute([key, value]: readonly [string, string | number | boolean]) {
  if (typeof value === "string") return { key, value: { value: { case: "stringValue" as const, value } } };
  if (typeof value === "boolean") return { key, value: { value: { case: "boolValue" as const, value } } };
  return Number.isInteger(value) ? { key, value: { value: { case: "intValue" as const, value: BigInt(value) } } } : { key, value: { value: { case: "doubleValue" as const, value } } };
}

const bytes = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g) ?? [], (h) => Number.parseInt(h, 16));
