// Owns what the CLI reads off a pod: is it ready, and is its traffic captured.
import type { Pod } from "@ambit/kube";

export const isReady = (p: Pod): boolean => p.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") === true;
/** As the node agent says it, from what is and not from the label. */
export const isEnrolled = (p: Pod): boolean => p.metadata.annotations?.["ambient.istio.io/redirection"] === "enabled";
