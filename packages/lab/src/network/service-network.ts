// Owns a node's Service network: watches Services, EndpointSlices and Nodes and keeps nftables and routes as they say.
import { existsSync, writeFileSync } from "node:fs";
import type { EndpointSlice, Node, Reflector, Service } from "@ambit/kube";
import { errorText, type Clock, type Logger, type Timer } from "@ambit/runtime";
import { runCommand, tryCommand } from "../node/command.ts";
import { renderServiceRules, type HostPort } from "./plan/render-nft.ts";
import { podRoutes, routeChanges, type Route } from "./plan/routes.ts";
import { frontDoors } from "./plan/service-model.ts";

/** Changes within this time go into one transaction. */
const DEBOUNCE_MS = 30;
const RETRY_MS = 1_000;
const BRIDGE_FILTER = "/proc/sys/net/bridge/bridge-nf-call-iptables";

export interface ServiceNetworkOptions {
  readonly nodeName: string; readonly nodeIp: string; readonly podCidr: string;
  readonly services: Reflector<Service>; readonly slices: Reflector<EndpointSlice>; readonly nodes: Reflector<Node>;
  readonly hostPorts: () => readonly HostPort[];
  readonly clock: Clock; readonly log: Logger;
}
export interface ServiceNetwork {
  /** Something other than the three kinds changed: look again. */
  changed(): void;
  close(): Promise<void>;
}

/** Runs in the node's network namespace. The rules stay when it stops. */
export async function startServiceNetwork(o: ServiceNetworkOptions): Promise<ServiceNetwork> {
  writeFileSync("/proc/sys/net/ipv4/ip_forward", "1");
  const bridgeFiltered = enableBridgeFilter();
  if (!bridgeFiltered) o.log.warn("br_netfilter is not loaded: pods that reach a pod of their own node through a Service are seen with the node's address");
  let rules = "";
  let routes: readonly Route[] = await routesInForce(o);
  let udpTargets = new Set<string>();
  let timer: Timer | undefined;
  let running: Promise<void> | undefined;
  let again = false;
  let closed = false;

  const apply = async (): Promise<void> => {
    if (!o.services.synced || !o.slices.synced || !o.nodes.synced) return; // half a picture would cut connections
    const doors = frontDoors(o.services.items(), o.slices.items(), o.nodeName);
    const next = renderServiceRules({ doors, hostPorts: o.hostPorts(), podCidr: o.podCidr, bridgeFiltered });
    if (next !== rules) {
      await runCommand(["nft", "-f", "-"], { input: next });
      rules = next;
      const targets = new Set(doors.flatMap((d) => (d.protocol === "udp" ? d.targets.map((t) => t.ip) : [])));
      for (const ip of udpTargets) if (!targets.has(ip)) await forgetFlows(ip);
      udpTargets = targets;
    }
    const wanted = podRoutes(o.nodes.items(), o.nodeName);
    const script = routeChanges(wanted, routes);
    if (script !== "") await runCommand(["ip", "-force", "-batch", "-"], { input: script });
    routes = wanted;
  };
  const run = async (): Promise<void> => {
    do {
      again = false;
      try {
        await apply();
      } catch (error) {
        o.log.error("cannot program the Service network, will try again", { error: errorText(error) });
        schedule(RETRY_MS);
      }
    } while (again && !closed);
  };
  const schedule = (delayMs: number) => {
    if (closed) return;
    timer ??= o.clock.after(delayMs, () => {
      timer = undefined;
      again = true;
      running ??= run().finally(() => { running = undefined; });
    });
  };
  const changed = () => schedule(DEBOUNCE_MS);
  const handler = { onAdd: changed, onUpdate: changed, onDelete: changed, onSynced: changed };
  o.services.handle(handler);
  o.slices.handle(handler);
  o.nodes.handle(handler);
  return {
    changed,
    async close() {
      closed = true;
      timer?.cancel();
      await running;
    },
  };
}

/**
 * The kernel remembers where a UDP socket's packets went and keeps sending them there: a resolver that keeps its socket would ask a dead
 * DNS server for ever. Without the tool such a flow ends when it was silent for 30 s.
 */
async function forgetFlows(ip: string): Promise<void> {
  await tryCommand(["conntrack", "-D", "-p", "udp", "--reply-src", ip]).catch(() => undefined);
}

/** Bridged packets must meet the address translation too, or replies within a node bypass it. Per network namespace. */
function enableBridgeFilter(): boolean {
  if (!existsSync(BRIDGE_FILTER)) return false;
  try {
    writeFileSync(BRIDGE_FILTER, "1");
    return true;
  } catch {
    return false; // a user namespace may not own it
  }
}

/** Routes an earlier kubelet of this node made. */
async function routesInForce(o: ServiceNetworkOptions): Promise<Route[]> {
  const out = JSON.parse(await runCommand(["ip", "-json", "-4", "route", "show"])) as { dst?: string; gateway?: string }[];
  return out.flatMap((r) => (r.dst !== undefined && r.dst !== "default" && r.dst !== o.podCidr && r.gateway !== undefined ? [{ to: r.dst, via: r.gateway }] : []));
}
