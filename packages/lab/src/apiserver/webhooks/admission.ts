// Owns the passage of a request through webhooks: mutation in order, then validation, refusals and failures as upstream words them.
import { randomUUID } from "node:crypto";
import type { User } from "../auth/user.ts";
import { asNumber, asString, cloneJson, equalJson, isObject, type JsonObject } from "../json.ts";
import { applyJsonPatch } from "../patch/json-patch.ts";
import { apiVersionOf, type Row } from "../registry/row.ts";
import { ApiError, badRequest, internal } from "../status.ts";
import { callHook, type Verdict } from "./call.ts";
import { matchingHooks, MUTATING, VALIDATING, type Hook, type HookRequest } from "./hooks.ts";

export interface Passage extends HookRequest {
  readonly name: string;
  readonly user: User;
  readonly dryRun: boolean;
  /** The request's own options, without their kind. */
  readonly options: JsonObject;
  readonly warn: (text: string) => void;
}

export function hasHooks(passage: Passage): boolean {
  return matchingHooks(MUTATING, passage).length > 0 || matchingHooks(VALIDATING, passage).length > 0;
}

/** The object after all mutating webhooks; the input is not changed. */
export async function mutate(passage: Passage): Promise<JsonObject> {
  if (passage.object === null) throw new Error("only an object can be mutated");
  let object = cloneJson(passage.object);
  const hooks = matchingHooks(MUTATING, passage);
  for (const hook of hooks) object = await mutateOnce(passage, hook, object);
  // Those that asked for it see what later ones changed, once.
  const again = hooks.slice(0, -1).filter((hook) => hook.reinvoke);
  if (!equalJson(object, passage.object)) for (const hook of again) object = await mutateOnce(passage, hook, object);
  return object;
}

async function mutateOnce(passage: Passage, hook: Hook, object: JsonObject): Promise<JsonObject> {
  const shown = inVersion(object, hook.row);
  const verdict = await call(passage, hook, shown);
  if (verdict === null || verdict.patch === null) return object;
  const patched = applyJsonPatch(shown, verdict.patch);
  if (!patched.ok) throw internal(`admission webhook ${JSON.stringify(hook.name)} attempted an invalid patch: ${patched.message}`);
  return inVersion(patched.value, passage.row);
}

/** Asks every validating webhook at once; throws the first refusal. */
export async function validate(passage: Passage): Promise<void> {
  const hooks = matchingHooks(VALIDATING, passage);
  const answers = await Promise.allSettled(hooks.map((hook) => call(passage, hook, passage.object)));
  for (const answer of answers) if (answer.status === "rejected") throw answer.reason;
}

/** Deletions are shown to both kinds; there is nothing to patch. */
export async function permitDeletion(passage: Passage): Promise<void> {
  for (const hook of matchingHooks(MUTATING, passage)) await call(passage, hook, null);
  await validate(passage);
}

/** The verdict of one webhook; null when it failed and may be ignored; throws when it refuses. */
async function call(passage: Passage, hook: Hook, object: JsonObject | null): Promise<Verdict | null> {
  const quoted = JSON.stringify(hook.name);
  if (passage.dryRun && !hook.dryRunSafe) throw badRequest(`admission webhook ${quoted} does not support dry run`);
  const uid = randomUUID();
  let verdict: Verdict;
  try {
    verdict = await callHook(passage.api, hook, review(passage, hook, object, uid), uid);
  } catch (error) {
    const text = `failed calling webhook ${quoted}: ${error instanceof Error ? error.message : String(error)}`;
    if (hook.failClosed) throw internal(text);
    passage.api.log.warn("webhook failed and is ignored", { webhook: hook.name, configuration: hook.configuration, error: text });
    return null;
  }
  for (const warning of verdict.warnings) passage.warn(warning);
  if (!verdict.allowed) throw refusal(quoted, verdict.status);
  return verdict;
}

function refusal(quoted: string, status: JsonObject): ApiError {
  const code = Math.max(400, asNumber(status["code"]));
  const reason = asString(status["reason"]);
  const denied = `admission webhook ${quoted} denied the request`;
  const message = asString(status["message"]);
  const text = message !== "" ? `${denied}: ${message}` : reason !== "" ? `${denied}: ${reason}` : `${denied} without explanation`;
  return new ApiError(Math.min(code, 599), reason, text, isObject(status["details"]) ? status["details"] : null);
}

const OPTIONS = { CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions" } as const;

function review(passage: Passage, hook: Hook, object: JsonObject | null, uid: string): JsonObject {
  const kindOf = ({ group, version, kind }: Row) => ({ group, version, kind });
  const resourceOf = ({ group, version, resource }: Row) => ({ group, version, resource });
  const { user, row } = passage;
  const extra: JsonObject = {};
  for (const [key, values] of Object.entries(user.extra)) extra[key] = [...values];
  const request: JsonObject = {
    uid,
    kind: kindOf(hook.row),
    resource: resourceOf(hook.row),
    requestKind: kindOf(row),
    requestResource: resourceOf(row),
    name: passage.name,
    operation: passage.operation,
    userInfo: { username: user.name, groups: [...user.groups], ...(user.uid === "" ? {} : { uid: user.uid }), extra },
    object: object === null ? null : inVersion(object, hook.row),
    oldObject: passage.before === null ? null : inVersion(passage.before, hook.row),
    dryRun: passage.dryRun,
    options: { kind: OPTIONS[passage.operation], apiVersion: "meta.k8s.io/v1", ...passage.options },
  };
  if (row.namespaced) request["namespace"] = passage.namespace;
  if (row.bucket === "/namespaces") request["namespace"] = passage.name;
  if (passage.subresource !== "") {
    request["subResource"] = passage.subresource;
    request["requestSubResource"] = passage.subresource;
  }
  return { kind: "AdmissionReview", apiVersion: "admission.k8s.io/v1", request };
}

/** The object in another version of its resource, by way of the stored one. */
function inVersion(object: JsonObject, row: Row): JsonObject {
  if (object["apiVersion"] === apiVersionOf(row)) return object;
  if (row.fromStored === null) return { ...object, apiVersion: apiVersionOf(row) };
  return row.fromStored(object);
}
