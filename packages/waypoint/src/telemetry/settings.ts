// Owns which telemetry settings a connection has: those of its service, else the waypoint's.
import type { TelemetrySettings, WaypointConfig } from "@ambit/core";
import { keyOf } from "@ambit/proxy/state";
import type { ConnectionFacts } from "../facts.ts";

/** Before any configuration: counted, not logged. */
const NONE: TelemetrySettings = {
  accessLog: { enabled: false, encoding: "text", format: undefined, filter: undefined },
  tracing: { provider: undefined, samplingPercent: 0, customTags: [] }, metrics: { enabled: true, overrides: [] },
};

export function telemetryOf(config: WaypointConfig | undefined, facts: ConnectionFacts): TelemetrySettings {
  if (config === undefined) return NONE;
  return (facts.destination.kind === "service" ? config.serviceTelemetry.get(keyOf(facts.destination.service)) : undefined) ?? config.telemetry;
}
