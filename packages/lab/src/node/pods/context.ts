// Owns what the parts of a pod's worker share: the node's services on one side, the pod's own state on the other.
import type { KubeClient, Service } from "@ambit/kube";
import type { Clock, Logger } from "@ambit/runtime";
import type { Cni } from "../cni.ts";
import type { Events } from "../events.ts";
import type { NodeRoot } from "../node-root.ts";
import type { DnsFacts } from "../plan/names.ts";
import type { NodePod } from "../plan/pod-spec.ts";
import type { IdMap } from "../plan/privileges.ts";
import type { ObjectCache } from "../volumes/object-cache.ts";
import type { PodVolumes } from "../volumes/pod-volumes.ts";
import type { Limit } from "./limit.ts";
import type { StatusWriter } from "./status-writer.ts";

/** What every pod of the node uses. */
export interface NodePorts {
  readonly client: KubeClient; readonly clock: Clock; readonly log: Logger;
  readonly root: NodeRoot; readonly cni: Cni; readonly objects: ObjectCache; readonly events: Events; readonly status: StatusWriter;
  readonly nodeName: string; readonly hostIP: string; readonly images: string;
  readonly dns: DnsFacts;
  readonly services: () => Iterable<Service>;
  /** Starts of sandboxes and containers at once. */
  readonly starts: Limit;
  readonly cpuMillis: number; readonly memoryBytes: number;
  readonly ids: IdMap;
}
/** What the containers of one pod use. */
export interface PodContext {
  readonly ports: NodePorts;
  readonly pod: () => NodePod;
  readonly podIP: () => string;
  /** Undefined: the node's own network. */
  readonly netns: () => string | undefined;
  readonly volumes: PodVolumes;
  readonly dir: string;
  /** Something that the worker must look at. */
  readonly changed: () => void;
}
