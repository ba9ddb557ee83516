// Owns the reading of webhook configurations: which webhooks a request meets, in order, and in which version.
import { asNumber, asObject, asObjects, asString, asStrings, isObject, type JsonObject } from "../json.ts";
import type { Api } from "../context.ts";
import type { Row } from "../registry/row.ts";
import { labelSelectorOf, labelsOf, matchesLabels } from "../selectors.ts";

export const VALIDATING = "admissionregistration.k8s.io/validatingwebhookconfigurations";
export const MUTATING = "admissionregistration.k8s.io/mutatingwebhookconfigurations";

export type Operation = "CREATE" | "UPDATE" | "DELETE";

export interface Hook {
  readonly name: string;
  readonly configuration: string;
  readonly client: JsonObject;
  readonly timeoutS: number;
  /** Whether a call that fails refuses the request. */
  readonly failClosed: boolean;
  readonly reinvoke: boolean;
  /** Without side effects, so that dry runs may call it. */
  readonly dryRunSafe: boolean;
  /** The row whose version the webhook asked for. */
  readonly row: Row;
}

export interface HookRequest {
  readonly api: Api;
  readonly row: Row;
  readonly operation: Operation;
  readonly namespace: string;
  readonly subresource: string;
  readonly object: JsonObject | null;
  readonly before: JsonObject | null;
}

/** Webhooks that a request must pass, by configuration name and position. */
export function matchingHooks(bucket: string, request: HookRequest): Hook[] {
  // Configurations themselves stay reachable, or a broken one could never be removed.
  if (request.row.bucket === VALIDATING || request.row.bucket === MUTATING || request.row.virtual) return [];
  const hooks: Hook[] = [];
  for (const entry of request.api.store.list(bucket)) {
    const configuration = asString(asObject(entry.object["metadata"])["name"]);
    for (const webhook of asObjects(entry.object["webhooks"])) {
      const row = matchingRow(webhook, request);
      if (row !== null && selected(webhook, request)) hooks.push(readHook(webhook, configuration, row));
    }
  }
  return hooks;
}

function readHook(webhook: JsonObject, configuration: string, row: Row): Hook {
  return {
    name: asString(webhook["name"]),
    configuration,
    client: asObject(webhook["clientConfig"]),
    timeoutS: asNumber(webhook["timeoutSeconds"], DEFAULT_TIMEOUT_S),
    failClosed: webhook["failurePolicy"] !== "Ignore",
    reinvoke: webhook["reinvocationPolicy"] === "IfNeeded",
    dryRunSafe: webhook["sideEffects"] === "None" || webhook["sideEffects"] === "NoneOnDryRun",
    row,
  };
}

export const DEFAULT_TIMEOUT_S = 10;

/** The request's own row, or with matchPolicy Equivalent another version of the same resource that a rule names. */
function matchingRow(webhook: JsonObject, request: HookRequest): Row | null {
  const rules = asObjects(webhook["rules"]);
  if (rules.some((rule) => ruleMatches(rule, request.row, request))) return request.row;
  if (webhook["matchPolicy"] === "Exact") return null;
  const others = request.api.registry.rows().filter((row) => row.bucket === request.row.bucket && row !== request.row);
  return others.find((row) => rules.some((rule) => ruleMatches(rule, row, request))) ?? null;
}

function ruleMatches(rule: JsonObject, row: Row, request: HookRequest): boolean {
  const has = (field: string, value: string) => asStrings(rule[field]).some((item) => item === "*" || item === value);
  if (!has("operations", request.operation) || !has("apiGroups", row.group) || !has("apiVersions", row.version)) return false;
  const scope = asString(rule["scope"]);
  if ((scope === "Namespaced" && !row.namespaced) || (scope === "Cluster" && row.namespaced)) return false;
  return asStrings(rule["resources"]).some((resource) => resourceMatches(resource, row.resource, request.subresource));
}

function resourceMatches(pattern: string, resource: string, subresource: string): boolean {
  const [wanted = "", sub = ""] = pattern.split("/");
  if (wanted !== "*" && wanted !== resource) return false;
  if (pattern === "*/*") return true;
  return pattern.includes("/") ? subresource !== "" && (sub === "*" || sub === subresource) : subresource === "";
}

function selected(webhook: JsonObject, request: HookRequest): boolean {
  const labels = namespaceLabels(request);
  const inNamespace = labelSelectorOf(webhook["namespaceSelector"]);
  if (labels !== null && (inNamespace === null || !matchesLabels(inNamespace, labels))) return false;
  const onObject = labelSelectorOf(webhook["objectSelector"]);
  if (onObject === null) return false;
  return [request.object, request.before].some((object) => isObject(object) && matchesLabels(onObject, labelsOf(object)));
}

/** Labels the namespaceSelector looks at; null for cluster-scoped objects, which it does not concern. */
function namespaceLabels(request: HookRequest): Record<string, string> | null {
  if (request.row.bucket === "/namespaces") return labelsOf(request.object ?? request.before ?? {});
  if (!request.row.namespaced) return null;
  return labelsOf(request.api.store.get("/namespaces", request.namespace)?.object ?? {});
}
