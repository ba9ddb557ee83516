// Owns spans on their way out: gathered, sent in batches, dropped (and counted) rather than kept without end.
import { errorText, type Clock, type Logger, type Metrics, type Timer } from "@ambit/runtime";
import { encodeSpans } from "./encode-otlp.ts";
import type { SpanRecord } from "./span.ts";

/** Spans of one request to the collector. */
export const BATCH_MAX = 256;
/** Spans that wait, for all providers together: some 4 MB. */
export const WAITING_MAX = 4096;
/** A span waits at most so long. */
export const FLUSH_MS = 1_000;

/** Sends one encoded batch; rejects when the collector did not take it. */
export type Send = (body: Uint8Array) => Promise<void>;

export interface Exporter {
  add(provider: string, send: Send, span: SpanRecord): void;
  /** Sends what waits. */
  flush(): Promise<void>;
  close(): void;
}

export interface ExporterOptions {
  readonly resource: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

interface Queue { send: Send; readonly spans: SpanRecord[]; sending: boolean; failing: boolean }

export function createExporter(o: ExporterOptions): Exporter {
  const outcomes = o.metrics.counter("ambit_waypoint_spans_total", "Spans by outcome: sent, dropped (too many waiting), failed (the collector did not take them).");
  const queues = new Map<string, Queue>();
  let waiting = 0;
  let timer: Timer | undefined;

  const sendBatch = async (provider: string, q: Queue): Promise<void> => {
    if (q.sending || q.spans.length === 0) return;
    q.sending = true;
    const batch = q.spans.splice(0, BATCH_MAX);
    waiting -= batch.length;
    try {
      await q.send(encodeSpans(batch, o.resource));
      outcomes.with({ outcome: "sent" }).inc(batch.length);
      if (q.failing) o.log.info("the collector takes spans again", { provider });
      q.failing = false;
    } catch (error) {
      outcomes.with({ outcome: "failed" }).inc(batch.length);
      // Once for each outage: spans are worth no flood of lines.
      if (!q.failing) o.log.warn("spans could not be sent", { provider, spans: batch.length, error: errorText(error) });
      q.failing = true;
    } finally {
      q.sending = false;
    }
  };
  const flush = async (): Promise<void> => {
    timer?.cancel();
    timer = undefined;
    await Promise.all([...queues].map(([provider, q]) => sendBatch(provider, q)));
    if (waiting > 0 && timer === undefined) timer = o.clock.after(FLUSH_MS, () => void flush());
  };
  return {
    add(provider, send, span) {
      if (waiting >= WAITING_MAX) return outcomes.with({ outcome: "dropped" }).inc();
      let q = queues.get(provider);
      if (q === undefined) queues.set(provider, (q = { send, spans: [], sending: false, failing: false }));
      q.send = send;
      q.spans.push(span);
      waiting++;
      if (q.spans.length >= BATCH_MAX) void sendBatch(provider, q);
      else timer ??= o.clock.after(FLUSH_MS, () => void flush());
    },
    flush,
    close: () => timer?.cancel(),
  };
}
