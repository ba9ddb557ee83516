// Public names of @ambit/proto: generated wire types, grouped by package.
export * as workload from "./gen/istio/workload/workload_pb.js";
export * as security from "./gen/istio/security/authorization_pb.js";
export * as zds from "./gen/istio/zds/zds_pb.js";
export * as auth from "./gen/istio/v1/auth/ca_pb.js";
export * as discovery from "./gen/envoy/service/discovery/v3/discovery_pb.js";
export * as rpc from "./gen/google/rpc/status_pb.js";
export * as externalAuth from "./gen/envoy/service/auth/v3/external_auth_pb.js";

/** Name of the Service extension that carries Kubernetes' `sessionAffinity: ClientIP`; its config is a google.protobuf.Duration. */
export const CLIENT_AFFINITY = "ambit.dev/client-affinity";
export * as otlp from "./gen/opentelemetry/trace_pb.js";
