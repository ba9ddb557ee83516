// Public names of @ambit/lab.
export { defaultStateDir, layoutOf, NODES_MAX, type LabLayout, type NodeLayout } from "./supervisor/layout.ts";
export { DEFAULT_PORT, enterCommand, LabError, readRecord, startLab, type Lab, type LabOptions, type LabRecord } from "./supervisor/outer.ts";
export { startApiServer, type ApiServerOptions, type RunningApiServer } from "./apiserver/server.ts";
export { ensurePki, issueCertificate, issueNodePki, writeKubeconfig, type CertRequest, type KeyAndCert, type KubeconfigInput, type PkiNode } from "./pki.ts";
