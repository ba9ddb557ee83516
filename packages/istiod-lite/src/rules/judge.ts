// Owns the judgement of one object by itself, for admission: the same rules and words as its conditions, nothing that depends on others. Pure.
import { describeProblems, type Problem } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { admit, type SourceName } from "../collections/admit.ts";
import { buildMesh } from "../collections/graph.ts";
import type { Settings } from "../collections/settings.ts";

export interface Judgement {
  /** Reasons to refuse it, by path. */
  readonly problems: readonly Problem[];
  /** It may be stored, but does not do exactly what it says. */
  readonly warnings: readonly string[];
}

/** Said by conditions of an object that stands alone; others (a waypoint that is not there yet) are for its status. */
const OWN_REASONS = ["UnsupportedValue"];

export function judgeObject(source: SourceName, object: unknown, settings: Settings): Judgement {
  const admitted = admit(source, object);
  if (!admitted.ok) return { problems: admitted.error, warnings: [] };
  const mesh = buildMesh(settings);
  // Its shape is admitted.
  mesh.sources[source].set(admitted.value as never);
  const statuses = mesh.statuses.list();
  const warnings = statuses.flatMap((s) => s.conditions.filter((c) => OWN_REASONS.includes(c.reason)).map((c) => c.message));
  return { problems: statuses.flatMap((s) => s.problems), warnings };
}

/** The refusal in one sentence, for a person at kubectl. */
export const refusalText = (object: KubeObject, problems: readonly Problem[]): string =>
  `${object.kind ?? "object"} ${object.metadata?.namespace === undefined ? "" : `${object.metadata.namespace}/`}${object.metadata?.name ?? ""} is not understood: ${describeProblems(problems)}`;
