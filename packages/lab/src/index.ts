// Public names of @ambit/lab.
export { defaultStateDir, layoutOf, type LabLayout, type NodeLayout } from "./supervisor/layout.ts";
export { DEFAULT_PORT, enterCommand, LabError, readRecord, startLab, type Lab, type LabOptions, type LabRecord } from "./supervisor/outer.ts";
