// Owns ControllerRevisions: the history of pod templates that DaemonSets and StatefulSets keep.
import type { Kind, KubeObject } from "@ambit/kube";
import type { Action } from "./action.ts";
import { claim, ownerReference } from "./claim.ts";
import { hashName, isEqual } from "./equal.ts";
import { apiVersionOf, CONTROLLER_REVISION } from "./kinds.ts";
import type { ControllerRevision, LabelSelector, PodTemplate } from "./model.ts";

export const REVISION_HASH = "controller-revision-hash";

interface Owner extends KubeObject { spec: { selector: LabelSelector; template: PodTemplate; revisionHistoryLimit?: number } }

export interface History {
  /** Revision of the current template; undefined when it must be written first (see actions). */
  readonly current: ControllerRevision | undefined;
  readonly all: readonly ControllerRevision[];
  readonly actions: readonly Action[];
}

/** `inUse` are the hashes that living pods still carry: such revisions are never trimmed. */
export function planHistory(kind: Kind, owner: Owner, revisions: readonly ControllerRevision[], inUse: ReadonlySet<string>): History {
  const { mine, actions } = claim({ kind, object: owner, selector: owner.spec.selector }, CONTROLLER_REVISION, revisions);
  const all = [...mine].sort((a, b) => a.revision - b.revision);
  const data = { spec: { template: { ...owner.spec.template, $patch: "replace" } } };
  const top = all.at(-1);
  const same = all.filter((r) => isEqual(templateOf(r), owner.spec.template)).at(-1);
  if (owner.metadata.deletionTimestamp !== undefined) return { current: same, all, actions };
  if (same === undefined) {
    const hash = hashName(owner.spec.template);
    const object = {
      apiVersion: apiVersionOf(CONTROLLER_REVISION), kind: CONTROLLER_REVISION.kind,
      metadata: {
        name: `${owner.metadata.name}-${hash}`, ...(owner.metadata.namespace === undefined ? {} : { namespace: owner.metadata.namespace }),
        labels: { ...owner.spec.template.metadata?.labels, [REVISION_HASH]: hash }, ownerReferences: [ownerReference(kind, owner)],
      },
      data, revision: (top?.revision ?? 0) + 1,
    };
    return { current: undefined, all, actions: [...actions, { do: "create", kind: CONTROLLER_REVISION, object }] };
  }
  // A rollback makes an old template the newest revision again.
  const renumber: Action[] = same === top ? [] : [{ do: "replace", kind: CONTROLLER_REVISION, object: { ...same, revision: (top?.revision ?? 0) + 1 } }];
  return { current: same, all, actions: [...actions, ...renumber, ...trim(owner, same, all, inUse)] };
}

function trim(owner: Owner, current: ControllerRevision, all: readonly ControllerRevision[], inUse: ReadonlySet<string>): Action[] {
  const idle = all.filter((r) => r !== current && !inUse.has(hashOf(r)) && r.metadata.deletionTimestamp === undefined);
  const limit = owner.spec.revisionHistoryLimit ?? 10;
  return idle.slice(0, Math.max(0, idle.length - limit)).map((object) => ({ do: "delete", kind: CONTROLLER_REVISION, object }));
}

export function hashOf(revision: ControllerRevision): string {
  return revision.metadata.labels?.[REVISION_HASH] ?? "";
}

/** The template a revision holds, without the patch directive that makes kubectl's rollback replace it whole. */
export function templateOf(revision: ControllerRevision): PodTemplate | undefined {
  const template = (revision.data as { spec?: { template?: PodTemplate & { $patch?: string } } } | undefined)?.spec?.template;
  if (template === undefined) return undefined;
  const { $patch: _, ...rest } = template;
  return rest;
}
