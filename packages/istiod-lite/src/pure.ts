// Public pure parts of the control plane, for `ambit why` and `ambit analyze` (ADR 0018): objects in, wire resources out, no I/O.
export { admit, type SourceName } from "./collections/admit.ts";
export { placed, SOURCE_KINDS, sourceOf } from "./collections/kinds.ts";
export { buildMesh, type Mesh } from "./collections/graph.ts";
export { appProtocol } from "./collections/services.ts";
export type { WaypointResource } from "./collections/waypoint/config.ts";
export { encodeAddress, encodePolicy } from "./push/encode.ts";
export { DEFAULT_SETTINGS } from "./collections/settings.ts";
export { analyzeObjects } from "./rules/analyze.ts";
export { atLeast, FINDINGS, type Finding, type FindingKind, type Level } from "./rules/findings.ts";
export { classStatus } from "./status/class-conditions.ts";
