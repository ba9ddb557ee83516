import assert from "node:assert/strict";
import { fromBinary } from "@bufbuild/protobuf";
import { otlp } from "@ambit/proto";
import { ManualClock, quiet, settle } from "@ambit/proxy/testing";
import { Metrics } from "@ambit/runtime";
import { encodeSpans } from "./encode-otlp.ts";
import { BATCH_MAX, createExporter, FLUSH_MS, WAITING_MAX } from "./exporter.ts";
import type { SpanRecord } from "./span.ts";

const span = (name: string): SpanRecord => ({
  context: { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", parentId: undefined, sampled: true },
  name, startedAt: 1_700_000_000_000, durationMs: 1.5, attributes: [["http.status_code", 200], ["x", "y"], ["b", true], ["d", 0.5]], error: false,
});
const namesIn = (body: Uint8Array): string[] => fromBinary(otlp.ExportTraceServiceRequestSchema, body).resourceSpans.flatMap((r) => r.scopeSpans.flatMap((s) => s.spans.map((x) => x.name)));

describe("spans on the wire", () => {
  it("are OTLP: ids as octets, nanoseconds, typed attributes", () => {
    const [resource] = fromBinary(otlp.ExportTraceServiceRequestSchema, encodeSpans([span("a")], { "service.name": "w.shop" })).resourceSpans;
    const [sent] = resource?.scopeSpans[0]?.spans ?? [];
    assert.equal(Buffer.from(sent?.traceId ?? []).toString("hex"), "0af7651916cd43dd8448eb211c80319c");
    assert.equal(sent?.startTimeUnixNano, 1_700_000_000_000_000_000n);
    assert.equal((sent?.endTimeUnixNano ?? 0n) - (sent?.startTimeUnixNano ?? 0n), 1_500_000n);
    assert.deepEqual(sent?.attributes.map((a) => a.value?.value.case), ["intValue", "stringValue", "boolValue", "doubleValue"]);
    assert.equal(resource?.resource?.attributes[0]?.key, "service.name");
  });
});

describe("the exporter", () => {
  function world(send: (body: Uint8Array) => Promise<void>) {
    const clock = new ManualClock();
    const metrics = new Metrics();
    const exporter = createExporter({ resource: {}, clock, log: quiet, metrics });
    return { clock, metrics, exporter, add: (n: number) => { for (let i = 0; i < n; i++) exporter.add("p", send, span(`s${i}`)); } };
  }

  it("gathers for a moment and sends together", async () => {
    const bodies: Uint8Array[] = [];
    const w = world(async (body) => void bodies.push(body));
    w.add(3);
    assert.equal(bodies.length, 0);
    await w.clock.advance(FLUSH_MS);
    await settle();
    assert.deepEqual(bodies.map(namesIn), [["s0", "s1", "s2"]]);
  });

  it("sends a full batch at once", async () => {
    const bodies: Uint8Array[] = [];
    const w = world(async (body) => void bodies.push(body));
    w.add(BATCH_MAX);
    await settle();
    assert.equal(bodies.length, 1);
    w.exporter.close();
  });

  it("drops what it cannot keep, and counts it", () => {
    const w = world(() => new Promise(() => undefined));
    // One batch is on its way for ever.
    w.add(WAITING_MAX + BATCH_MAX + 10);
    assert.match(w.metrics.expose(), /ambit_waypoint_spans_total\{outcome="dropped"\} 10/);
    w.exporter.close();
  });

  it("counts what the collector refuses, and goes on", async () => {
    let refuse = true;
    const bodies: Uint8Array[] = [];
    const w = world(async (body) => { if (refuse) throw new Error("no"); bodies.push(body); });
    w.add(2);
    await w.clock.advance(FLUSH_MS);
    await settle();
    refuse = false;
    w.add(1);
    await w.clock.advance(FLUSH_MS);
    await settle();
    assert.match(w.metrics.expose(), /outcome="failed"\} 2/);
    assert.match(w.metrics.expose(), /outcome="sent"\} 1/);
    assert.equal(bodies.length, 1);
  });
});
