// Owns pods/NAME/eviction: deletion that PodDisruptionBudgets may refuse.
import { timestamp, type Api } from "../context.ts";
import { decodeObject, mediaType, readBody } from "../http/body.ts";
import type { Exchange } from "../http/exchange.ts";
import { negotiate } from "../http/negotiate.ts";
import type { ResourceRequest } from "../http/route.ts";
import { asNumber, asObject, asString, cloneJson, ensureObject, isObject, type JsonObject } from "../json.ts";
import type { Row } from "../registry/row.ts";
import { labelSelectorOf, labelsOf, matchesLabels } from "../selectors.ts";
import { badRequest, internal, methodNotAllowed, tooManyRequests } from "../status.ts";
import type { Entry } from "../storage/store.ts";
import { readDeleteOptions, remove } from "./delete.ts";
import { metadataOf } from "./metadata.ts";
import { requireEntry } from "./read.ts";
import { commit } from "./write.ts";

const BUDGETS = "policy/poddisruptionbudgets";
/** Budgets whose status lags behind their spec are not trusted; the client comes back after this long. */
const RETRY_S = 10;

export async function serveEviction(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Promise<void> {
  const body = await readBody(exchange.request);
  if (target.verb !== "create") throw methodNotAllowed();
  exchange.negotiated = negotiate(exchange.request.headers.accept);
  const eviction = decodeObject(body, mediaType(exchange.request));
  if (eviction["kind"] !== undefined && eviction["kind"] !== "Eviction") throw badRequest("the body must be an Eviction");
  const entry = requireEntry(api, row, target.namespace, target.name);
  const given = eviction["deleteOptions"];
  const options = readDeleteOptions(isObject(given) ? given : null, exchange.query);
  if (countsAsRunning(entry.object)) spend(api, target, entry, options.dryRun);
  remove(api, row, entry, options);
  exchange.reply(201, { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 });
}

function countsAsRunning(pod: JsonObject): boolean {
  const phase = asString(asObject(pod["status"])["phase"]);
  const deleted = metadataOf(pod)["deletionTimestamp"] !== undefined;
  return !deleted && phase !== "Succeeded" && phase !== "Failed" && phase !== "Pending";
}

/** Takes one disruption from the pod's budget, or throws 429. */
function spend(api: Api, target: ResourceRequest, pod: Entry, dryRun: boolean): void {
  const budgets = api.store.list(BUDGETS, `${target.namespace}/`).filter((entry) => {
    const selector = labelSelectorOf(asObject(entry.object["spec"])["selector"]);
    return selector !== null && matchesLabels(selector, labelsOf(pod.object));
  });
  const [entry, second] = budgets;
  if (entry === undefined) return;
  if (second !== undefined) throw internal("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
  const budget = cloneJson(entry.object);
  const status = ensureObject(budget, "status");
  const name = asString(metadataOf(budget)["name"]);
  if (asNumber(status["observedGeneration"]) < asNumber(metadataOf(budget)["generation"])) {
    throw refuse(`The disruption budget ${name} is still being processed by the server.`);
  }
  const allowed = asNumber(status["disruptionsAllowed"]);
  if (allowed <= 0) {
    const needs = `The disruption budget ${name} needs ${asNumber(status["desiredHealthy"])} healthy pods and has ${asNumber(status["currentHealthy"])} currently`;
    throw refuse(needs);
  }
  status["disruptionsAllowed"] = allowed - 1;
  ensureObject(status, "disruptedPods")[target.name] = timestamp(api.now());
  const options = { dryRun, fieldManager: "", fieldValidation: "Ignore", force: false } as const;
  const row = api.registry.byBucket(BUDGETS);
  if (row !== undefined) commit({ api, row, options }, entry.key, budget);
}

function refuse(message: string) {
  const text = "Cannot evict pod as it would violate the pod's disruption budget.";
  return tooManyRequests(text, RETRY_S, { causes: [{ reason: "DisruptionBudget", message }] });
}
