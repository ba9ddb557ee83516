// Owns tracing as a whole: which requests become spans, and how those reach their collector.
import { formatIdentity, type TelemetrySettings, type TracingProvider } from "@ambit/core";
import { fieldValue } from "@ambit/http";
import type { Clock, Logger, Metrics } from "@ambit/runtime";
import type { Config } from "../config.ts";
import type { RequestRecord } from "../http/options.ts";
import type { Call } from "../proxy/call.ts";
import { createExporter } from "./exporter.ts";
import { spanOf } from "./span.ts";
import type { TraceContext } from "./trace-context.ts";

/** The collector's answer is waited for so long. */
const TIMEOUT_MS = 5_000;
const GRPC_PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HTTP_PATH = "/v1/traces";

export interface Tracing {
  record(record: RequestRecord, context: TraceContext, settings: TelemetrySettings["tracing"]): void;
  close(): Promise<void>;
}

export function createTracing(o: { readonly config: Config; readonly call: Call; readonly clock: Clock; readonly log: Logger; readonly metrics: Metrics }): Tracing {
  const { config } = o;
  const exporter = createExporter({
    clock: o.clock, log: o.log, metrics: o.metrics,
    resource: {
      "service.name": `${config.gateway.split("/")[1] ?? ""}.${config.podNamespace}`, "service.namespace": config.podNamespace, "service.instance.id": config.podName,
      "k8s.pod.name": config.podName, "k8s.namespace.name": config.podNamespace, "k8s.node.name": config.nodeName, "k8s.cluster.name": config.clusterId,
      "ambit.identity": formatIdentity(config.identity),
    },
  });
  return {
    record(record, context, settings) {
      const { provider } = settings;
      if (provider === undefined || !context.sampled) return;
      exporter.add(provider.name, (body) => send(o.call, provider, body), spanOf(record, context, settings.customTags, (name) => process.env[name]));
    },
    async close() {
      await exporter.flush();
      exporter.close();
    },
  };
}

async function send(call: Call, provider: TracingProvider, body: Uint8Array): Promise<void> {
  const grpc = provider.protocol === "otlp-grpc";
  const authority = `${provider.service.slice(provider.service.indexOf("/") + 1)}:${provider.port}`;
  const answer = await call({
    backend: { service: provider.service, port: provider.port, subset: undefined }, protocol: grpc ? "http2" : "http1", signal: AbortSignal.timeout(TIMEOUT_MS),
    method: "POST", authority, target: grpc ? GRPC_PATH : HTTP_PATH,
    fields: grpc ? ["content-type", "application/grpc", "te", "trailers"] : ["content-type", "application/x-protobuf"],
    body: grpc ? framed(body) : body,
  });
  if (answer.status !== 200) throw new Error(`the collector answered ${answer.status}`);
  const said = fieldValue(answer.trailers, "grpc-status") ?? fieldValue(answer.fields, "grpc-status");
  if (grpc && said !== "0") throw new Error(`the collector answered grpc-status ${said ?? "none"}: ${fieldValue(answer.trailers, "grpc-message") ?? fieldValue(answer.fields, "grpc-message") ?? ""}`);
}

/** One gRPC message: not compressed, its length in four octets. */
function framed(message: Uint8Array): Uint8Array {
  const out = new Uint8Array(message.length + 5);
  new DataView(out.buffer).setUint32(1, message.length);
  out.set(message, 5);
  return out;
}
