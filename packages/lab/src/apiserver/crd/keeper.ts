// Owns the life of CustomResourceDefinitions: serving their kinds, their status conditions, and clearing up at deletion.
import { timestamp, type Api } from "../context.ts";
import { asObject, asObjects, asString, asStrings, cloneJson, equalJson, type JsonObject } from "../json.ts";
import type { Row } from "../registry/row.ts";
import type { Change } from "../storage/store.ts";
import { remove } from "../verbs/delete.ts";
import { isGone } from "../verbs/write.ts";
import { attempt } from "../upkeep.ts";
import { CLEANUP_FINALIZER } from "./defaults.ts";
import { rowsOf } from "./rows.ts";

/** A reconcile that failed (a full disk) is tried again after this long. */
const RETRY_MS = 5000;

export const CRDS = "apiextensions.k8s.io/customresourcedefinitions";

/** Starts serving stored CRDs and follows their changes; `row` is the registry's own for CRDs. */
export function keepCrds(api: Api, row: Row): void {
  const pending = new Set<string>();
  const visit = (name: string) => {
    // Outside the store's own notification, so that watchers see changes in order.
    if (pending.has(name)) return;
    pending.add(name);
    setImmediate(() => {
      pending.delete(name);
      if (api.closing.aborted) return;
      const done = attempt(api, "CRD not brought up to date", () => reconcile(api, row, name));
      if (!done) api.clock.after(RETRY_MS, () => visit(name));
    });
  };
  for (const entry of api.store.list(CRDS)) {
    serve(api, entry.object);
    visit(entry.key);
  }
  api.store.listen(CRDS, (change: Change) => {
    const key = (change.after ?? change.before)?.key ?? "";
    if (change.after === null) api.registry.setCustom(key, []);
    else if (change.before === null || !equalJson(change.before.object["spec"] ?? null, change.after.object["spec"] ?? null)) {
      serve(api, change.after.object);
    }
    visit(key);
  });
  // A terminating CRD waits for the last of its objects.
  api.store.listenAll((bucket, change) => {
    if (change.after !== null) return;
    const crd = api.registry.byBucket(bucket)?.custom?.crd;
    if (crd !== undefined && isTerminating(api.store.get(CRDS, crd)?.object)) visit(crd);
  });
}

export function isTerminating(crd: JsonObject | undefined): boolean {
  return crd !== undefined && asObject(crd["metadata"])["deletionTimestamp"] !== undefined;
}

function serve(api: Api, crd: JsonObject): void {
  const name = asString(asObject(crd["metadata"])["name"]);
  try {
    api.registry.setCustom(name, namesClash(api, crd) === null ? rowsOf(crd) : []);
  } catch (error) {
    // Validation compiled the same schema; a stored CRD of an older build may still fail here.
    api.log.error("CRD not served", { crd: name, error: String(error) });
  }
}

function reconcile(api: Api, row: Row, name: string): void {
  const entry = api.store.get(CRDS, name);
  if (entry === undefined) return;
  const object = cloneJson(entry.object);
  if (isTerminating(object)) {
    const left = clear(api, object);
    setCondition(api, object, "Terminating", "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress");
    if (left === 0) dropFinalizer(object);
  } else acceptNames(api, object);
  if (equalJson(object, entry.object)) return;
  if (isGone(row, object)) api.store.remove(CRDS, name);
  else api.store.put(CRDS, name, object);
}

function acceptNames(api: Api, crd: JsonObject): void {
  const clash = namesClash(api, crd);
  const status = asObject(crd["status"]);
  if (clash === null) {
    setCondition(api, crd, "NamesAccepted", "True", "NoConflicts", "no conflicts found");
    setCondition(api, crd, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted");
    status["acceptedNames"] = cloneJson(asObject(asObject(crd["spec"])["names"]));
  } else {
    setCondition(api, crd, "NamesAccepted", "False", "PluralConflict", clash);
    setCondition(api, crd, "Established", "False", "NotAccepted", "not all names are accepted");
  }
  crd["status"] = status;
}

/** Plural and kind must be free among everything else served in the group. */
function namesClash(api: Api, crd: JsonObject): string | null {
  const own = asString(asObject(crd["metadata"])["name"]);
  const spec = asObject(crd["spec"]);
  const names = asObject(spec["names"]);
  for (const row of api.registry.rows()) {
    if (row.group !== spec["group"] || row.custom?.crd === own) continue;
    if (row.resource === names["plural"]) return `"${row.resource}" is already in use`;
    if (row.kind === names["kind"]) return `"${row.kind}" is already in use`;
  }
  return null;
}

function clear(api: Api, crd: JsonObject): number {
  const spec = asObject(crd["spec"]);
  const bucket = `${asString(spec["group"])}/${asString(asObject(spec["names"])["plural"])}`;
  const row = api.registry.byBucket(bucket);
  if (row === undefined) return 0;
  for (const entry of api.store.list(bucket)) {
    remove(api, row, entry, { graceS: undefined, policy: "Background", dryRun: false, uid: "", resourceVersion: "" });
  }
  return api.store.size(bucket);
}

function dropFinalizer(crd: JsonObject): void {
  const metadata = asObject(crd["metadata"]);
  const kept = asStrings(metadata["finalizers"]).filter((finalizer) => finalizer !== CLEANUP_FINALIZER);
  if (kept.length > 0) metadata["finalizers"] = kept;
  else delete metadata["finalizers"];
}

function setCondition(api: Api, crd: JsonObject, type: string, status: string, reason: string, message: string): void {
  const holder = asObject(crd["status"]);
  const others = asObjects(holder["conditions"]);
  const known = others.find((condition) => condition["type"] === type);
  if (known?.["status"] === status && known["reason"] === reason) return;
  const condition: JsonObject = { type, status, lastTransitionTime: timestamp(api.now()), reason, message };
  holder["conditions"] = [...others.filter((other) => other["type"] !== type), condition];
  crd["status"] = holder;
}
