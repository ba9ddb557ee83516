// Owns what the files of one run of `pnpm test:kube` know of each other: mocha loads them into one process.
import type { Picture } from "./snapshot.fixture.ts";

export const KUBECONFIG = process.env["AMBIT_E2E_KUBECONFIG"] ?? "";
/** Of the images that are on the nodes. */
export const TAGS = { first: "n", next: "n-plus-1" } as const;
/** As it was before the mesh. */
export const remembered: { cluster: Picture; readonly nodes: Map<string, Picture>; readonly pods: Map<string, Picture> } = { cluster: new Map(), nodes: new Map(), pods: new Map() };
/** Set by the verb for a run whose tests change more than the mesh does: cluster and nodes cannot be as they were then, and why. */
export const NO_PICTURES = process.env["KUBE_NO_PICTURES"];
