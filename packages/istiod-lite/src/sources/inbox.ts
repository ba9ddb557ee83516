// Owns the door of the graph: objects from outside are checked, gathered, and applied in one batch per turn of the event loop.
import { describeProblems } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import type { Logger } from "@ambit/runtime";
import { admit, nameOf, type SourceName } from "../collections/admit.ts";
import type { Mesh } from "../collections/graph.ts";

export interface Inbox {
  put(source: SourceName, object: KubeObject): void;
  /** Key: `namespace/name`, or `name` of a cluster-scoped object. */
  remove(source: SourceName, key: string): void;
  /** From now on changes are applied: everything that came before goes in as one batch. */
  open(): void;
}

/**
 * Closed until `open`: the first state is computed once, from everything, and nobody sees a half of it.
 * An object that may not enter leaves the last good one in place.
 */
export function createInbox(mesh: Mesh, log: Logger): Inbox {
  let waiting: (() => void)[] = [];
  let opened = false;
  let scheduled = false;
  const flush = (): void => {
    scheduled = false;
    const changes = waiting;
    waiting = [];
    mesh.batch(() => { for (const change of changes) change(); });
  };
  const later = (change: () => void): void => {
    waiting.push(change);
    if (!opened || scheduled) return;
    scheduled = true;
    queueMicrotask(flush);
  };
  return {
    put: (source, object) => {
      const admitted = admit(source, object);
      if (!admitted.ok) log.warn("object refused, the last good one stays", { object: nameOf(object), error: describeProblems(admitted.error) });
      // Each source has its own type; the shape is admitted.
      else later(() => mesh.sources[source].set(admitted.value as never));
    },
    remove: (source, key) => later(() => mesh.sources[source].delete(key)),
    open: () => {
      opened = true;
      flush();
    },
  };
}
