// Owns the guard against gaining rights by writing roles: nobody grants what they do not hold themselves.
import { BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, clusterRoleRules, covers, readRule, ROLES, type Rule } from "../auth/authorizer.ts";
import { MASTERS } from "../auth/user.ts";
import { asObject, asObjects, asString, equalJson, type JsonObject } from "../json.ts";
import { forbidden, notFound } from "../status.ts";
import { metadataOf } from "../verbs/metadata.ts";
import type { Admission } from "./admit.ts";

export function admitRbac(request: Admission, object: JsonObject): void {
  if (request.user.groups.includes(MASTERS)) return;
  const { bucket } = request.row;
  if (bucket === ROLES || bucket === CLUSTER_ROLES) admitRole(request, object);
  if (bucket === BINDINGS || bucket === CLUSTER_BINDINGS) admitBinding(request, object);
}

function admitRole(request: Admission, object: JsonObject): void {
  const same = (field: string) => equalJson(object[field] ?? null, request.before?.[field] ?? null);
  if (request.before !== null && same("rules") && same("aggregationRule")) return;
  if (may(request, "escalate", request.row.resource, asString(metadataOf(object)["name"]))) return;
  // An aggregated role is whatever others put into it.
  const rules = object["aggregationRule"] === undefined ? asObjects(object["rules"]).map(readRule) : [EVERYTHING, EVERY_PATH];
  refuseMissing(request, object, rules);
}

const EVERYTHING: Rule = { verbs: ["*"], apiGroups: ["*"], resources: ["*"], resourceNames: [], nonResourceURLs: [] };
const EVERY_PATH: Rule = { verbs: ["*"], apiGroups: [], resources: [], resourceNames: [], nonResourceURLs: ["*"] };

function admitBinding(request: Admission, object: JsonObject): void {
  const reference = asObject(object["roleRef"]);
  const same = request.before !== null && equalJson(object["subjects"] ?? null, request.before["subjects"] ?? null);
  if (same) return;
  const kind = asString(reference["kind"]);
  const name = asString(reference["name"]);
  const resource = kind === "Role" ? "roles" : "clusterroles";
  if (may(request, "bind", resource, name)) return;
  const { store } = request.api;
  const role = kind === "Role" ? store.get(ROLES, `${request.namespace}/${name}`) : store.get(CLUSTER_ROLES, name);
  if (role === undefined) throw notFound(request.row, name);
  refuseMissing(request, object, clusterRoleRules(store, role.object));
}

function may(request: Admission, verb: string, resource: string, name: string): boolean {
  const { api, user, row, namespace } = request;
  return api.authorizer.authorize(user, { verb, group: row.group, resource, subresource: "", namespace, name }).allowed;
}

function refuseMissing(request: Admission, object: JsonObject, wanted: readonly Rule[]): void {
  const held = request.api.authorizer.rulesFor(request.user, request.namespace);
  const missing = wanted.flatMap(singleRules).filter((rule) => !held.some((own) => coversRule(own, rule)));
  if (missing.length === 0) return;
  const { name, groups } = request.user;
  const who = `user ${JSON.stringify(name)} (groups=${JSON.stringify(groups)})`;
  const texts = missing.map(ruleText);
  const why = `${who} is attempting to grant RBAC permissions not currently held:\n${texts.join("\n")}`;
  throw forbidden(request.row, asString(metadataOf(object)["name"]), why);
}

/** A rule as upstream writes it. */
function ruleText(rule: Rule): string {
  const parts = [["APIGroups", rule.apiGroups], ["Resources", rule.resources], ["ResourceNames", rule.resourceNames], ["NonResourceURLs", rule.nonResourceURLs], ["Verbs", rule.verbs]] as const;
  return `{${parts.filter(([, values]) => values.length > 0).map(([name, values]) => `${name}:${JSON.stringify(values).replaceAll('","', '", "')}`).join(", ")}}`;
}

/** One rule for each combination of verb, group, resource and name. */
function singleRules(rule: Rule): Rule[] {
  const single: Rule[] = [];
  for (const verb of rule.verbs) {
    for (const url of rule.nonResourceURLs) single.push({ ...NOTHING, verbs: [verb], nonResourceURLs: [url] });
    for (const group of rule.apiGroups) {
      for (const resource of rule.resources) {
        const names = rule.resourceNames.length > 0 ? rule.resourceNames : [null];
        for (const name of names) {
          single.push({ ...NOTHING, verbs: [verb], apiGroups: [group], resources: [resource], resourceNames: name === null ? [] : [name] });
        }
      }
    }
  }
  return single;
}

const NOTHING: Rule = { verbs: [], apiGroups: [], resources: [], resourceNames: [], nonResourceURLs: [] };

/** `wanted` has one value of each; a wildcard in it is covered by a wildcard only. */
function coversRule(own: Rule, wanted: Rule): boolean {
  const [verb = ""] = wanted.verbs;
  const [path] = wanted.nonResourceURLs;
  if (path !== undefined) return covers(own, { verb, path });
  const [resource = "", subresource = ""] = (wanted.resources[0] ?? "").split("/");
  if (own.resourceNames.length > 0 && wanted.resourceNames.length === 0) return false;
  return covers(own, { verb, group: wanted.apiGroups[0] ?? "", resource, subresource, namespace: "", name: wanted.resourceNames[0] ?? "" });
}
