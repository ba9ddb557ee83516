// Owns what comes from the control plane: addresses of the mesh, and the configuration of this waypoint.
import type { Problem } from "@ambit/core";
import { prepareAddresses } from "@ambit/proxy/state";
import type { Clock, Logger, LoopWatch, Random } from "@ambit/runtime";
import { ADDRESS_TYPE, createXdsClient, proxyNode, WAYPOINT_TYPE, type ControlPlane, type Delivery } from "@ambit/xds";
import type { Config } from "./config.ts";
import type { WaypointState } from "./state/waypoint-state.ts";

/** The control plane has no configuration for us (yet): asked again. */
const ASK_AGAIN_MS = 1_000;

export interface ControlOptions {
  readonly config: Config;
  readonly plane: ControlPlane;
  readonly state: WaypointState;
  readonly clock: Clock;
  readonly random: Random;
  readonly loop: LoopWatch;
  readonly log: Logger;
}

export interface Following {
  /** Addresses and the configuration have come once. */
  whenReady(): Promise<void>;
  close(): void;
}

export function followControlPlane(o: ControlOptions): Following {
  const { config, state, log } = o;
  let closed = false;
  const xds = createXdsClient({
    connect: o.plane,
    node: proxyNode({ role: "waypoint", ip: config.instanceIp, podName: config.podName, podNamespace: config.podNamespace, nodeName: config.nodeName }),
    types: [{ typeUrl: ADDRESS_TYPE, onDemand: false }, { typeUrl: WAYPOINT_TYPE, onDemand: true }],
    handler: (typeUrl, delivery) => o.loop.during(`a push of ${delivery.upserts.length + delivery.removed.length} resources`, () => (typeUrl === ADDRESS_TYPE ? applyAddresses(state, delivery) : applyConfig(state, delivery))),
    clock: o.clock, random: o.random, log,
  });
  /** A name that was answered "missing" is asked for again: the Gateway may be younger than its pod. */
  const configured = async (): Promise<void> => {
    for (let asked = 0; !closed; asked++) {
      const answer = await xds.subscribe(WAYPOINT_TYPE, state.gateway);
      if (answer === "found") return;
      if (asked === 0) log.info("waiting for configuration", { gateway: state.gateway, answer });
      await o.clock.sleep(ASK_AGAIN_MS);
    }
  };
  const stop = state.onConfig(() => {
    if (state.config !== undefined) return;
    log.warn("the configuration of this waypoint is gone: nothing is served", { gateway: state.gateway });
    void configured();
  });
  const first = configured();
  return {
    async whenReady() {
      await Promise.all([xds.whenReady(), first]);
    },
    close() {
      closed = true;
      stop();
      xds.close();
    },
  };
}

function applyAddresses(state: WaypointState, delivery: Delivery): readonly Problem[] {
  const { batch, rejects } = prepareAddresses(delivery);
  state.mesh.apply(batch);
  return rejects;
}

function applyConfig(state: WaypointState, delivery: Delivery): readonly Problem[] {
  const problems = [
    ...delivery.upserts.map((u) => state.applyConfig(u.name, u.bytes)),
    ...delivery.removed.map((name) => state.applyConfig(name, undefined)),
  ];
  return problems.filter((p) => p !== undefined);
}
