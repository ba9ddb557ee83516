// Owns the bookkeeping of the pod protocol as a reducer: which pods we serve, which wait for a retry, what to answer.
import type { PodInfo } from "@ambit/proxy/state";
import type { PodRequest } from "../protocol/messages.ts";

export interface KnownPod { readonly info: PodInfo; readonly inode: bigint }

export interface Pods {
  /** `away`: no agent. `snapshot`: its list is arriving. `steady`: after snapshot_sent. */
  readonly phase: "away" | "snapshot" | "steady";
  readonly running: ReadonlyMap<string, KnownPod>;
  /** Could not be started; tried again from time to time. */
  readonly pending: ReadonlyMap<string, KnownPod>;
  /** Added or kept by the snapshot that is arriving. */
  readonly mentioned: ReadonlySet<string>;
}

export type PodEvent =
  | { readonly kind: "connected" }
  | { readonly kind: "disconnected" }
  /** `inode` tells namespaces apart; it comes with `add`. */
  | { readonly kind: "request"; readonly request: PodRequest; readonly inode?: bigint }
  | { readonly kind: "started"; readonly uid: string; readonly pod: KnownPod; readonly answer: boolean }
  | { readonly kind: "start-failed"; readonly uid: string; readonly pod: KnownPod; readonly error: string; readonly answer: boolean }
  | { readonly kind: "retry" };

export type PodEffect =
  /** `answer`: the agent waits for an acknowledgement of the outcome. */
  | { readonly kind: "start"; readonly uid: string; readonly pod: KnownPod; readonly answer: boolean }
  | { readonly kind: "stop"; readonly uid: string }
  /** The namespace handle of a pod that is not running is no longer needed. */
  | { readonly kind: "forget"; readonly uid: string }
  | { readonly kind: "ack" }
  | { readonly kind: "nack"; readonly error: string }
  | { readonly kind: "violation"; readonly what: string };

export interface Reduced { readonly pods: Pods; readonly effects: readonly PodEffect[] }

export const NO_PODS: Pods = { phase: "away", running: new Map(), pending: new Map(), mentioned: new Set() };

/** Everything the agent's list must settle before we are ready. */
export const settled = (p: Pods): boolean => p.phase === "steady" && p.pending.size === 0;

const ACK: PodEffect = { kind: "ack" };

export function reducePods(pods: Pods, event: PodEvent): Reduced {
  switch (event.kind) {
    case "connected": return { pods: { ...pods, phase: "snapshot", mentioned: new Set() }, effects: [] };
    case "disconnected": return { pods: { ...pods, phase: "away", mentioned: new Set() }, effects: [] };
    case "request": return reduceRequest(pods, event.request, event.inode);
    case "started":
      return { pods: { ...pods, running: new Map(pods.running).set(event.uid, event.pod), pending: without(pods.pending, event.uid) }, effects: event.answer ? [ACK] : [] };
    case "start-failed":
      return { pods: { ...pods, pending: new Map(pods.pending).set(event.uid, event.pod) }, effects: event.answer ? [{ kind: "nack", error: event.error }] : [] };
    case "retry":
      return { pods, effects: [...pods.pending].map(([uid, pod]) => ({ kind: "start", uid, pod, answer: false })) };
  }
}

function reduceRequest(pods: Pods, request: PodRequest, inode = 0n): Reduced {
  const violation = (what: string): Reduced => ({ pods, effects: [{ kind: "violation", what }] });
  if (pods.phase === "away") return violation(`${request.kind} before hello`);
  const inSnapshot = pods.phase === "snapshot";
  switch (request.kind) {
    case "add": {
      const mentioned = inSnapshot ? new Set(pods.mentioned).add(request.uid) : pods.mentioned;
      const running = pods.running.get(request.uid);
      if (running?.inode === inode) return { pods: { ...pods, mentioned }, effects: [ACK] };
      const start: PodEffect = { kind: "start", uid: request.uid, pod: { info: request.info, inode }, answer: true };
      if (running === undefined) return { pods: { ...pods, mentioned, pending: without(pods.pending, request.uid) }, effects: [start] };
      // Same pod in a new network namespace: the sandbox was made anew.
      return { pods: { ...pods, mentioned, running: without(pods.running, request.uid) }, effects: [{ kind: "stop", uid: request.uid }, start] };
    }
    case "keep":
      if (!inSnapshot) return violation("keep after snapshot_sent");
      return { pods: { ...pods, mentioned: new Set(pods.mentioned).add(request.uid) }, effects: [ACK] };
    case "del": {
      const pending = without(pods.pending, request.uid);
      const forget: PodEffect[] = pods.pending.has(request.uid) ? [{ kind: "forget", uid: request.uid }] : [];
      if (inSnapshot) {
        const mentioned = new Set(pods.mentioned);
        mentioned.delete(request.uid);
        return { pods: { ...pods, pending, mentioned }, effects: [...forget, ACK] };
      }
      const stop: PodEffect[] = pods.running.has(request.uid) ? [{ kind: "stop", uid: request.uid }] : [];
      return { pods: { ...pods, pending, running: without(pods.running, request.uid) }, effects: [...forget, ...stop, ACK] };
    }
    case "snapshot-sent": {
      if (!inSnapshot) return violation("a second snapshot_sent");
      const gone = [...pods.running.keys()].filter((uid) => !pods.mentioned.has(uid));
      const given = [...pods.pending.keys()].filter((uid) => !pods.mentioned.has(uid));
      const effects: PodEffect[] = [...gone.map((uid): PodEffect => ({ kind: "stop", uid })), ...given.map((uid): PodEffect => ({ kind: "forget", uid })), ACK];
      return { pods: { phase: "steady", mentioned: new Set(), running: without(pods.running, ...gone), pending: without(pods.pending, ...given) }, effects };
    }
  }
}

function without<V>(map: ReadonlyMap<string, V>, ...keys: readonly string[]): ReadonlyMap<string, V> {
  if (!keys.some((k) => map.has(k))) return map;
  const out = new Map(map);
  for (const key of keys) out.delete(key);
  return out;
}
