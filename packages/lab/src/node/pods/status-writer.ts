// Owns getting pods' statuses to the API server: the newest one of each pod, again until it is there, never twice the same.
import { isNotFound, KINDS, KubeError, type Condition, type KubeClient } from "@ambit/kube";
import { backoffDelay, errorText, systemRandom, type Clock, type Logger } from "@ambit/runtime";
import type { NodePod } from "../plan/pod-spec.ts";
import { isOwnCondition, type PodStatus } from "../plan/status.ts";

export interface StatusWriter {
  /** Returns at once; the write follows. */
  publish(pod: NodePod, status: PodStatus): void;
  /** Resolves when the last published status of this pod is written or has become pointless. */
  flush(uid: string): Promise<void>;
  forget(uid: string): void;
  close(): void;
}

const RETRY = { initialMs: 100, maxMs: 5_000 };

/** Fields that a merge patch must take away when the status no longer has them. */
const ABSENT = { podIP: null, podIPs: null, reason: null, message: null };

interface Entry { pod: NodePod; status: PodStatus; sent: string; running: Promise<void> | undefined }

export function createStatusWriter(client: KubeClient, clock: Clock, log: Logger, current: (pod: NodePod) => NodePod | undefined): StatusWriter {
  const entries = new Map<string, Entry>();
  const stop = new AbortController();

  const run = async (uid: string, entry: Entry): Promise<void> => {
    for (let attempt = 0; !stop.signal.aborted && entries.get(uid) === entry; ) {
      const { pod, status } = entry;
      const text = JSON.stringify(status);
      if (text === entry.sent) return;
      const latest = current(pod) ?? pod;
      const foreign = ((latest.status?.["conditions"] ?? []) as readonly Condition[]).filter((c) => !isOwnCondition(c.type));
      // A merge patch replaces the list, so others' conditions go with it; the version keeps us from undoing what they write meanwhile.
      const guard = foreign.length > 0 && attempt < 5 ? { resourceVersion: latest.metadata.resourceVersion } : {};
      try {
        await client.patch(KINDS.pods, pod.metadata.namespace, pod.metadata.name, { metadata: { uid, ...guard }, status: { ...ABSENT, ...status, conditions: [...status.conditions, ...foreign] } }, { subresource: "status", signal: stop.signal });
        entry.sent = text;
        attempt = 0;
      } catch (error) {
        const gone = isNotFound(error) || (error instanceof KubeError && error.status === 409 && current(pod)?.metadata.uid !== uid);
        if (gone || stop.signal.aborted) return;
        if (attempt > 0) log.warn("cannot write a pod's status, will try again", { pod: `${pod.metadata.namespace}/${pod.metadata.name}`, error: errorText(error) });
        await clock.sleep(backoffDelay(RETRY, attempt++, systemRandom), stop.signal).catch(() => undefined);
      }
    }
  };
  return {
    publish(pod, status) {
      const uid = pod.metadata.uid ?? "";
      let entry = entries.get(uid);
      if (entry === undefined) entries.set(uid, (entry = { pod, status, sent: "", running: undefined }));
      entry.pod = pod;
      entry.status = status;
      const held = entry;
      entry.running ??= run(uid, entry).finally(() => { held.running = undefined; });
    },
    async flush(uid) {
      await entries.get(uid)?.running;
    },
    forget(uid) {
      entries.delete(uid);
    },
    close() {
      stop.abort();
    },
  };
}
