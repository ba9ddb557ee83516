// Owns collecting the facts of a check through the API server: never by the mesh's own TLS, which may be what is broken.
import { isNotFound, KINDS, KubeError, type ConfigMap, type Kind, type KubeClient, type KubeObject, type Pod, type Secret } from "@ambit/kube";
import { analyzeObjects, DEFAULT_SETTINGS, SOURCE_KINDS } from "@ambit/istiod-lite/pure";
import { errorText } from "@ambit/runtime";
import { getFromPod } from "../port-forward.ts";
import type { Dump } from "../commands/ztunnel.ts";
import { UsageError } from "../usage-error.ts";
import { certificatesIn, ztunnelFact } from "./certificate-facts.ts";
import { isGoing, isReadyPod, MESH_NAMESPACE, partOf, record, text, type AgentFact, type CertificateFact, type Facts, type ObjectKind, type Objects, type ZtunnelFact } from "./model/facts.ts";
import { APPLY_VERBS, INSTALL_RIGHTS, type Right } from "./rights.ts";

const ADMIN_PORT = 15000;
/** Each is a kubectl of its own. */
const FORWARDS_AT_ONCE = 8;
/** Lines of an agent's log that are looked through for what it says of its plugin. */
const LOG_LINES = 500;
const ROOTS = "istio-ca-root-cert";

const kind = (group: string, version: string, plural: string, name: string, namespaced: boolean): Kind => ({ group, version, plural, kind: name, namespaced });
const READ: Readonly<Record<Exclude<ObjectKind, "configMaps" | "leases">, Kind>> = {
  pods: KINDS.pods, services: KINDS.services, nodes: KINDS.nodes, namespaces: KINDS.namespaces, deployments: KINDS.deployments, daemonSets: KINDS.daemonSets, crds: KINDS.customResourceDefinitions,
  networkPolicies: kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true), resourceQuotas: kind("", "v1", "resourcequotas", "ResourceQuota", true),
  validatingWebhooks: kind("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", false),
  mutatingWebhooks: kind("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", false),
  apiServices: kind("apiregistration.k8s.io", "v1", "apiservices", "APIService", false), felixConfigurations: kind("crd.projectcalico.org", "v1", "felixconfigurations", "FelixConfiguration", false),
  gateways: KINDS.gateways, httpRoutes: KINDS.httpRoutes, grpcRoutes: KINDS.grpcRoutes, tlsRoutes: KINDS.tlsRoutes, tcpRoutes: KINDS.tcpRoutes, backendTlsPolicies: KINDS.backendTlsPolicies, authorizationPolicies: KINDS.authorizationPolicies, peerAuthentications: KINDS.peerAuthentications,
  requestAuthentications: KINDS.requestAuthentications, virtualServices: KINDS.virtualServices, destinationRules: KINDS.destinationRules, telemetries: KINDS.telemetries, serviceEntries: KINDS.serviceEntries, workloadEntries: KINDS.workloadEntries,
};
/** Read one by one: all others of their kind are nobody's business here. */
const CONFIG_MAPS = [["kube-system", "cilium-config"], [MESH_NAMESPACE, "istio"], [MESH_NAMESPACE, "istio-cni-config"]] as const;

export interface GatherOptions { readonly client: KubeClient; readonly kubeconfig: string | undefined; /** Before an installation: rights are asked, proxies are not. */ readonly pre: boolean }

export async function gather(o: GatherOptions): Promise<Facts> {
  const clock = await clockOf(o.client);
  const unread: { kind: string; why: string }[] = [];
  const read = async <T>(what: string, ask: () => Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await ask();
    } catch (error) {
      // What is not served has no objects.
      if (isNotFound(error)) return otherwise;
      if (!(error instanceof KubeError) || error.status === 0) throw error;
      unread.push({ kind: what, why: error.message });
      return otherwise;
    }
  };
  const lists = Object.fromEntries(await Promise.all(Object.entries(READ).map(async ([name, k]) => [name, await read(name, () => objectsOf(o.client, k), [] as KubeObject[])] as const)));
  const leases = (await Promise.all([MESH_NAMESPACE, "kube-node-lease"].map((ns) => read("leases", () => objectsOf(o.client, KINDS.leases, ns), [] as KubeObject[])))).flat();
  const roots = await read("configMaps", async () => (await o.client.list<ConfigMap>(KINDS.configMaps, undefined, { fieldSelector: `metadata.name=${ROOTS}` })).items, [] as ConfigMap[]);
  const configMaps = (await Promise.all(CONFIG_MAPS.map(([ns, name]) => read("configMaps", async () => [await o.client.get<ConfigMap>(KINDS.configMaps, ns, name)], [] as ConfigMap[])))).flat();
  // Built from one table of kinds, so every name is there.
  const objects = { ...(lists as Partial<Objects>), leases, configMaps } as Objects;
  return {
    ...clock, version: text(record(await o.client.request("GET", "/version"))["gitVersion"]), objects, unread,
    forbidden: o.pre ? await forbidden(o.client, objects) : [], authority: await authority(o.client),
    roots: roots.map((r) => ({ namespace: r.metadata.namespace ?? "", certificates: certificatesIn(r.data?.["root-cert.pem"] ?? "", `ConfigMap ${r.metadata.namespace}/${ROOTS}`) })),
    ztunnels: o.pre ? [] : await ztunnels(o, objects.pods), agents: o.pre ? [] : await agents(o.client, objects.pods),
    misunderstood: o.pre ? [] : await misunderstood(o.client, objects),
  };
}

/** Lists leave the type of their items out. */
async function objectsOf(client: KubeClient, k: Kind, namespace?: string): Promise<KubeObject[]> {
  const { items } = await client.list(k, namespace);
  return items.map((item) => ({ ...item, kind: k.kind, apiVersion: k.group === "" ? k.version : `${k.group}/${k.version}` }));
}

/** The server's Date header; a round trip is what the answer may be off by. */
async function clockOf(client: KubeClient): Promise<{ now: number; aheadMs: number }> {
  const asked = Date.now();
  const response = await client.open("GET", "/version");
  response.resume();
  const answered = Date.now();
  const now = Date.parse(response.headers.date ?? "");
  // The header has whole seconds: half of one is its middle.
  return Number.isNaN(now) ? { now: answered, aheadMs: 0 } : { now: now + 500, aheadMs: (asked + answered) / 2 - (now + 500) };
}

async function forbidden(client: KubeClient, objects: Objects): Promise<string[]> {
  const needed = INSTALL_RIGHTS.filter((r) => r.unless === undefined || !r.unless(objects));
  const answers = await Promise.all(needed.flatMap((right) => APPLY_VERBS.map(async (verb): Promise<{ right: Right; verb: string; allowed: boolean }> => {
    const { group, resource, namespace } = right;
    const review = await client.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", { body: { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec: { resourceAttributes: { verb, group, resource, ...(namespace === undefined ? {} : { namespace }) } } } });
    return { right, verb, allowed: record(record(review)["status"])["allowed"] === true };
  })));
  const missing = (right: Right): string => answers.filter((a) => a.right === right && !a.allowed).map((a) => a.verb).join(" and ");
  return needed.filter((r) => missing(r) !== "").map((r) => `${missing(r)} ${r.resource}${r.group === "" ? "" : `.${r.group}`}${r.namespace === undefined ? "" : ` in ${r.namespace}`}`);
}

/** Plugged in wins. Only certificates leave this function, never the key beside them. */
async function authority(client: KubeClient): Promise<CertificateFact[]> {
  for (const [name, keys] of [["cacerts", ["ca-cert.pem", "root-cert.pem"]], ["istio-ca-secret", ["ca-cert.pem"]]] as const) {
    try {
      const secret = await client.get<Secret>(KINDS.secrets, MESH_NAMESPACE, name);
      const found = keys.flatMap((key) => certificatesIn(Buffer.from(secret.data?.[key] ?? "", "base64").toString("utf8"), `Secret ${MESH_NAMESPACE}/${name}`));
      if (found.length > 0) return found;
    } catch (error) {
      // Who may not read Secrets sees the roots that workloads have.
      if (!(error instanceof KubeError) || (error.status !== 404 && error.status !== 403)) throw error;
    }
  }
  return [];
}

async function ztunnels(o: GatherOptions, pods: readonly Pod[]): Promise<ZtunnelFact[]> {
  const running = pods.filter((p) => partOf(p) === "ztunnel" && !isGoing(p) && isReadyPod(p));
  const out: ZtunnelFact[] = [];
  for (let i = 0; i < running.length; i += FORWARDS_AT_ONCE)
    out.push(...await Promise.all(running.slice(i, i + FORWARDS_AT_ONCE).map(async (p): Promise<ZtunnelFact> => {
      const pod = p.metadata.name;
      const node = p.spec.nodeName ?? "";
      try {
        return ztunnelFact(pod, node, JSON.parse(await getFromPod({ kubeconfig: o.kubeconfig, namespace: MESH_NAMESPACE, pod, port: ADMIN_PORT }, "/config_dump")) as Dump);
      } catch (error) {
        if (!(error instanceof UsageError) && !(error instanceof SyntaxError)) throw error;
        return { pod, node, problem: errorText(error), leaves: [], waiting: [] };
      }
    })));
  return out;
}

async function agents(client: KubeClient, pods: readonly Pod[]): Promise<AgentFact[]> {
  return Promise.all(pods.filter((p) => partOf(p) === "istio-cni-node" && !isGoing(p)).map(async (p): Promise<AgentFact> => {
    const said = { pod: p.metadata.name, node: p.spec.nodeName ?? "" };
    const log = await podLog(client, MESH_NAMESPACE, p.metadata.name, "install-cni", LOG_LINES).catch(() => "");
    const last = log.split("\n").filter((l) => l.includes("CNI plugin is ")).at(-1) ?? "";
    const problem = /"problem":"((?:[^"\\]|\\.)*)"/.exec(last)?.[1];
    return problem === undefined ? said : { ...said, pluginProblem: problem };
  }));
}

export const podLog = (client: KubeClient, namespace: string, pod: string, container: string, lines: number, previous = false): Promise<string> =>
  client.request<string>("GET", `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/log`, { query: { container, tailLines: lines, ...(previous ? { previous } : {}) } });

/** The control plane's own rules, asked without it: it may be down. */
async function misunderstood(client: KubeClient, objects: Objects): Promise<Facts["misunderstood"]> {
  const known: Readonly<Record<string, readonly KubeObject[]>> = { ...objects };
  const names = Object.keys(SOURCE_KINDS) as (keyof typeof SOURCE_KINDS)[];
  const mesh = objects.configMaps.filter((c) => c.metadata.name === "istio").map((c) => ({ ...c, kind: "ConfigMap", apiVersion: "v1" }));
  const all = await Promise.all(names.map(async (name) => (name === "configMaps" ? mesh : known[name] ?? await objectsOf(client, SOURCE_KINDS[name]).catch((): KubeObject[] => []))));
  const errors = analyzeObjects(all.flat(), DEFAULT_SETTINGS).filter((f) => f.code === "IST0106");
  return errors.map((f) => ({ object: f.object, message: f.message }));
}
