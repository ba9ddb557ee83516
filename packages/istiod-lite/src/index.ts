// Public names of @ambit/istiod-lite: the in-process app, for tests and tools.
export { build, type App, type AppOptions } from "./app.ts";
export { readConfig, type Config } from "./config.ts";
export { buildMesh, type Mesh, type Sources } from "./collections/graph.ts";
export type { Settings } from "./collections/settings.ts";
