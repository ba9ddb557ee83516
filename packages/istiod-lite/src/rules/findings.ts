// Owns what a check can say about an object: codes and names are Istio's analyzers' where the meaning is the same.

export type Level = "Error" | "Warning" | "Info";

export interface FindingKind { readonly code: string; readonly name: string; readonly level: Level }

export const FINDINGS = {
  /** Text or object that is not understood, by path. */
  invalid: { code: "IST0106", name: "SchemaValidationError", level: "Error" },
  /** A waypoint that nothing defines. */
  missing: { code: "IST0101", name: "ReferencedResourceNotFound", level: "Error" },
  /** Understood, and not what it seems: the condition that the object would get. */
  condition: { code: "IST0171", name: "NegativeConditionStatus", level: "Warning" },
  /** A label or annotation of the mesh's domains that nobody reads. */
  unknownKey: { code: "IST0108", name: "UnknownAnnotation", level: "Warning" },
  /** A kind of the mesh's API groups that nobody reads here, or a kind of ours in a group that is not ours. */
  unknownKind: { code: "AMB0001", name: "KindNotRead", level: "Warning" },
  /** One object in two places: the first counts. */
  duplicate: { code: "AMB0002", name: "DuplicateObject", level: "Error" },
  /** A mesh-wide setting of Istio's that changes nothing here. */
  withoutEffect: { code: "AMB0003", name: "SettingWithoutEffect", level: "Info" },
} as const satisfies Record<string, FindingKind>;

export interface Finding extends FindingKind {
  /** Which of the examined objects, counted from 0. */
  readonly index: number;
  /** `Kind namespace/name`. */
  readonly object: string;
  /** Where in the object; empty: all of it. */
  readonly path: string;
  readonly message: string;
}

const RANK: Readonly<Record<Level, number>> = { Info: 0, Warning: 1, Error: 2 };
export const atLeast = (level: Level, threshold: Level): boolean => RANK[level] >= RANK[threshold];
