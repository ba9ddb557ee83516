// Owns the Events a node writes about its pods: repeated ones raise a count instead of a new object; never in the way of work.
import { isNotFound, KINDS, type KubeClient } from "@ambit/kube";
import { errorText, randomHex, type Clock, type Logger } from "@ambit/runtime";
import type { NodePod } from "./plan/pod-spec.ts";

export interface Events { report(pod: NodePod, type: "Normal" | "Warning", reason: string, message: string, container?: string): void }

/** Events under way; above this they are dropped: they must never hold back a pod. */
const QUEUE_MAX = 1_000;
/** Remembered for counting repeats. */
const KNOWN_MAX = 2_000;
/** The API's own bound on an event's note. */
const MESSAGE_MAX_CHARS = 1_024;

interface Known { readonly name: string; count: number; readonly first: string }

export function createEvents(client: KubeClient, clock: Clock, log: Logger, nodeName: string): Events {
  const known = new Map<string, Known>();
  const queue: (() => Promise<void>)[] = [];
  let running = false;
  const drain = async () => {
    running = true;
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) await job().catch((error: unknown) => log.debug("an event was lost", { error: errorText(error) }));
    running = false;
  };
  return {
    report(pod, type, reason, text, container) {
      if (queue.length >= QUEUE_MAX) return;
      const { namespace = "default", name, uid = "" } = pod.metadata;
      const message = text.slice(0, MESSAGE_MAX_CHARS);
      const now = `${new Date(clock.now()).toISOString().slice(0, 19)}Z`;
      const key = [uid, type, reason, message, container].join("\0");
      queue.push(async () => {
        const before = known.get(key);
        if (before !== undefined) {
          before.count++;
          try {
            await client.patch(KINDS.events, namespace, before.name, { count: before.count, lastTimestamp: now });
            return;
          } catch (error) {
            if (!isNotFound(error)) throw error;
            known.delete(key);
          }
        }
        const event = `${name}.${randomHex(8)}`;
        if (known.size >= KNOWN_MAX) known.delete(known.keys().next().value ?? "");
        known.set(key, { name: event, count: 1, first: now });
        await client.create(KINDS.events, namespace, {
          apiVersion: "v1", kind: "Event", metadata: { name: event, namespace }, type, reason, message, count: 1, firstTimestamp: now, lastTimestamp: now,
          source: { component: "kubelet", host: nodeName }, reportingComponent: "kubelet", reportingInstance: nodeName,
          involvedObject: { apiVersion: "v1", kind: "Pod", namespace, name, uid, ...(container === undefined ? {} : { fieldPath: `spec.containers{${container}}` }) },
        });
      });
      if (!running) void drain();
    },
  };
}
