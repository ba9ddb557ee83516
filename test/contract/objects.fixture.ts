// Owns small objects that cases of the contract are made of; no pod of them is ever scheduled.
import type { JsonObject } from "./wire.fixture.ts";

export const MERGE = { type: "application/merge-patch+json" } as const;
export const JSON_PATCH = { type: "application/json-patch+json" } as const;
export const STRATEGIC = { type: "application/strategic-merge-patch+json" } as const;
export const APPLY = { type: "application/apply-patch+yaml" } as const;
export const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
export const PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";

export function configMap(name: string, data: JsonObject = {}, metadata: JsonObject = {}): JsonObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, ...metadata }, data };
}

export function pod(name: string, spec: JsonObject = {}, metadata: JsonObject = {}): JsonObject {
  return { apiVersion: "v1", kind: "Pod", metadata: { name, ...metadata }, spec: { schedulerName: "nobody", containers: [{ name: "main", image: "app:1" }], ...spec } };
}

export function deployment(name: string, spec: JsonObject = {}, pods: JsonObject = {}): JsonObject {
  const labels = { app: name };
  const template = { metadata: { labels }, spec: { schedulerName: "nobody", containers: [{ name: "main", image: "app:1" }], ...pods } };
  return { apiVersion: "apps/v1", kind: "Deployment", metadata: { name }, spec: { replicas: 0, selector: { matchLabels: labels }, template, ...spec } };
}

export function service(name: string, spec: JsonObject = {}): JsonObject {
  return { apiVersion: "v1", kind: "Service", metadata: { name }, spec: { selector: { app: name }, ports: [{ port: 80 }], ...spec } };
}
