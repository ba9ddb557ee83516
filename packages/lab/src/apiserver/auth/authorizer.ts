// Owns authorization: RBAC roles and bindings compiled from the store into a table, rebuilt when any of them changes.
import { asObject, asObjects, asString, asStrings, type JsonObject } from "../json.ts";
import { labelSelectorOf, labelsOf, matchesLabels } from "../selectors.ts";
import type { Store } from "../storage/store.ts";
import { MASTERS, serviceAccountName, type User } from "./user.ts";

const RBAC = "rbac.authorization.k8s.io";
export const ROLES = `${RBAC}/roles`;
export const CLUSTER_ROLES = `${RBAC}/clusterroles`;
export const BINDINGS = `${RBAC}/rolebindings`;
export const CLUSTER_BINDINGS = `${RBAC}/clusterrolebindings`;

interface ResourceAttributes {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
}

interface PathAttributes {
  readonly verb: string;
  readonly path: string;
}

export type Attributes = ResourceAttributes | PathAttributes;

interface Decision {
  readonly allowed: boolean;
  /** For an answer of yes: which binding; of no: upstream's sentence. */
  readonly why: string;
}

export interface Rule {
  readonly verbs: readonly string[];
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames: readonly string[];
  readonly nonResourceURLs: readonly string[];
}

interface Grant {
  /** "" is the whole cluster. */
  readonly namespace: string;
  readonly rules: readonly Rule[];
  readonly why: string;
}

export class Authorizer {
  readonly #store: Store;
  #grants: Map<string, Grant[]> | null = null;

  constructor(store: Store) {
    this.#store = store;
    for (const bucket of [ROLES, CLUSTER_ROLES, BINDINGS, CLUSTER_BINDINGS]) {
      store.listen(bucket, () => {
        this.#grants = null;
      });
    }
  }

  authorize(user: User, asked: Attributes): Decision {
    if (user.groups.includes(MASTERS)) return { allowed: true, why: "" };
    const namespace = "resource" in asked ? asked.namespace : "";
    for (const grant of this.#of(user)) {
      if (grant.namespace !== "" && grant.namespace !== namespace) continue;
      if (grant.rules.some((rule) => covers(rule, asked))) return { allowed: true, why: grant.why };
    }
    return { allowed: false, why: refusal(user, asked) };
  }

  /** Every rule that applies to the user in a namespace (and cluster-wide). */
  rulesFor(user: User, namespace: string): Rule[] {
    if (user.groups.includes(MASTERS)) return [EVERYTHING, EVERY_PATH];
    return [...this.#of(user)]
      .filter((grant) => grant.namespace === "" || grant.namespace === namespace)
      .flatMap((grant) => grant.rules);
  }

  *#of(user: User): Generator<Grant> {
    this.#grants ??= compile(this.#store);
    yield* this.#grants.get(`u:${user.name}`) ?? [];
    for (const group of user.groups) yield* this.#grants.get(`g:${group}`) ?? [];
  }
}

const EVERYTHING: Rule = { verbs: ["*"], apiGroups: ["*"], resources: ["*"], resourceNames: [], nonResourceURLs: [] };
const EVERY_PATH: Rule = { verbs: ["*"], apiGroups: [], resources: [], resourceNames: [], nonResourceURLs: ["*"] };

function compile(store: Store): Map<string, Grant[]> {
  const grants = new Map<string, Grant[]>();
  const add = (binding: JsonObject, namespace: string) => {
    const meta = asObject(binding["metadata"]);
    const ref = asObject(binding["roleRef"]);
    const rules = rulesOf(store, asString(ref["kind"]), asString(ref["name"]), namespace);
    if (rules.length === 0) return;
    const kind = namespace === "" ? "ClusterRoleBinding" : "RoleBinding";
    const at = namespace === "" ? asString(meta["name"]) : `${asString(meta["name"])}/${namespace}`;
    const role = `${asString(ref["kind"])} "${asString(ref["name"])}"`;
    for (const subject of asObjects(binding["subjects"])) {
      const key = subjectKey(subject, namespace);
      if (key === null) continue;
      const why = `RBAC: allowed by ${kind} "${at}" of ${role} to ${asString(subject["kind"])} "${asString(subject["name"])}"`;
      const list = grants.get(key) ?? [];
      list.push({ namespace, rules, why });
      grants.set(key, list);
    }
  };
  for (const entry of store.list(CLUSTER_BINDINGS)) add(entry.object, "");
  for (const entry of store.list(BINDINGS)) add(entry.object, asString(asObject(entry.object["metadata"])["namespace"]));
  return grants;
}

function subjectKey(subject: JsonObject, namespace: string): string | null {
  const name = asString(subject["name"]);
  switch (subject["kind"]) {
    case "User":
      return `u:${name}`;
    case "Group":
      return `g:${name}`;
    case "ServiceAccount":
      return `u:${serviceAccountName(asString(subject["namespace"]) || namespace, name)}`;
    default:
      return null;
  }
}

function rulesOf(store: Store, kind: string, name: string, namespace: string): Rule[] {
  const entry = kind === "Role" ? store.get(ROLES, `${namespace}/${name}`) : store.get(CLUSTER_ROLES, name);
  if (entry === undefined) return [];
  return clusterRoleRules(store, entry.object);
}

/** Own rules, or those of the roles an aggregationRule selects. */
export function clusterRoleRules(store: Store, role: JsonObject): Rule[] {
  const selectors = asObjects(asObject(role["aggregationRule"])["clusterRoleSelectors"]);
  if (selectors.length === 0) return asObjects(role["rules"]).map(readRule);
  const wanted = selectors.map(labelSelectorOf).filter((selector) => selector !== null);
  return store
    .list(CLUSTER_ROLES)
    .filter((entry) => entry.object !== role && wanted.some((selector) => matchesLabels(selector, labelsOf(entry.object))))
    .flatMap((entry) => asObjects(entry.object["rules"]).map(readRule));
}

export function readRule(rule: JsonObject): Rule {
  return {
    verbs: asStrings(rule["verbs"]),
    apiGroups: asStrings(rule["apiGroups"]),
    resources: asStrings(rule["resources"]),
    resourceNames: asStrings(rule["resourceNames"]),
    nonResourceURLs: asStrings(rule["nonResourceURLs"]),
  };
}

export function covers(rule: Rule, asked: Attributes): boolean {
  if (!has(rule.verbs, asked.verb)) return false;
  if (!("resource" in asked)) return rule.nonResourceURLs.some((url) => coversPath(url, asked.path));
  if (!has(rule.apiGroups, asked.group)) return false;
  if (rule.resourceNames.length > 0 && !rule.resourceNames.includes(asked.name)) return false;
  const full = asked.subresource === "" ? asked.resource : `${asked.resource}/${asked.subresource}`;
  return rule.resources.some((resource) => {
    return resource === "*" || resource === full || (asked.subresource !== "" && resource === `*/${asked.subresource}`);
  });
}

function has(values: readonly string[], wanted: string): boolean {
  return values.includes("*") || values.includes(wanted);
}

function coversPath(url: string, path: string): boolean {
  return url === "*" || url === path || (url.endsWith("*") && path.startsWith(url.slice(0, -1)));
}

/** Upstream's sentence for a refused request. */
function refusal(user: User, asked: Attributes): string {
  if (!("resource" in asked)) return `User "${user.name}" cannot ${asked.verb} path "${asked.path}"`;
  const resource = asked.subresource === "" ? asked.resource : `${asked.resource}/${asked.subresource}`;
  const scope = asked.namespace === "" ? "at the cluster scope" : `in the namespace "${asked.namespace}"`;
  return `User "${user.name}" cannot ${asked.verb} resource "${resource}" in API group "${asked.group}" ${scope}`;
}
