// Owns turning a pod template into the pod an owner creates.
import type { Kind, KubeObject } from "@ambit/kube";
import type { NewObject } from "./action.ts";
import { ownerReference } from "./claim.ts";
import type { PodTemplate } from "./model.ts";

/** Upstream's bound on generated prefixes: 63 characters less the random part. */
const PREFIX_MAX = 58;

export interface PodOverrides {
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly finalizers?: readonly string[];
}

export function podFromTemplate(kind: Kind, owner: KubeObject, template: PodTemplate, overrides: PodOverrides = {}): NewObject {
  const { labels, annotations, finalizers } = template.metadata ?? {};
  const named = overrides.name === undefined ? { generateName: namePrefix(owner.metadata.name) } : { name: overrides.name };
  const allAnnotations = { ...annotations, ...overrides.annotations };
  const allFinalizers = [...(finalizers ?? []), ...(overrides.finalizers ?? [])];
  return {
    apiVersion: "v1", kind: "Pod",
    metadata: {
      ...named, ...(owner.metadata.namespace === undefined ? {} : { namespace: owner.metadata.namespace }),
      labels: { ...labels, ...overrides.labels },
      ...(Object.keys(allAnnotations).length === 0 ? {} : { annotations: allAnnotations }),
      ...(allFinalizers.length === 0 ? {} : { finalizers: allFinalizers }),
      ownerReferences: [ownerReference(kind, owner)],
    },
    spec: { ...template.spec, ...overrides.spec },
  };
}

export function namePrefix(owner: string): string {
  return `${owner.slice(0, PREFIX_MAX - 1)}-`;
}
