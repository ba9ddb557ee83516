// Public pure parts of the control plane, for `ambit why` (ADR 0018): objects in, wire resources out, no I/O.
export { admit, type SourceName } from "./collections/admit.ts";
export { placed, SOURCE_KINDS, sourceOf } from "./collections/kinds.ts";
export { buildMesh, type Mesh } from "./collections/graph.ts";
export { encodeAddress, encodePolicy } from "./push/encode.ts";
