// Public names of @ambit/kube.
export { ifFound, KubeClient, KubeError, isAlreadyExists, isConflict, isNamespaceEnding, isNotFound, type PatchOptions, type PatchType, type RequestOptions } from "./client.ts";
export { applyManifests, KindFinder, parseManifests, type ApplyOptions } from "./apply.ts";
export { inClusterConfig, KubeconfigError, loadClientConfig, parseKubeconfig, type ClientConfig } from "./config.ts";
export { KINDS, objectKey, pathOf, type Condition, type ConfigMap, type ContainerPort, type EndpointSlice, type Kind, type KubeObject, type Node, type ObjectMeta, type OwnerReference, type Pod, type Secret, type Service, type ServicePort } from "./objects.ts";
export { LeaderElection, type LeaderOptions } from "./leader.ts";
export { Reflector, type ReflectorHandler, type ReflectorOptions } from "./reflector.ts";
export { readDocuments, type ManifestDocument, type ManifestProblem } from "./documents.ts";
