// The program that the L7 bench measures: our waypoint, with two plain ports beside its tunnels.
import type { ProxyPorts, ProxySetup } from "./messages.ts";
import { startWaypoint } from "./waypoint.ts";

process.once("message", (setup: ProxySetup) => void start(setup));
process.once("disconnect", () => process.exit());
process.once("SIGTERM", () => process.exit()); // in an orderly way, so that a profile is written

async function start(setup: ProxySetup): Promise<void> {
  const waypoint = await startWaypoint(setup);
  const ports: ProxyPorts = { h1: await waypoint.listen("plain.shop.svc"), grpc: await waypoint.listen("grpc.shop.svc"), hbone: waypoint.tunnelPort };
  process.send?.(ports);
}
