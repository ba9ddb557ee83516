// Public names of @ambit/collections.
export { type Change, type Collection, type Equals, type Filter, type Index, type Listener } from "./collection.ts";
export { type Context, type DeriveOptions, type Transformation } from "./derive.ts";
export { structuralEqual } from "./equal.ts";
export { Graph, type SourceOptions } from "./graph.ts";
export { type Group } from "./group.ts";
export { type Source } from "./source.ts";
