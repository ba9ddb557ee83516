// Decides whether the certificates of the mesh are there, in time, and of one trust domain. By the API server's clock.
import { finding, names, type Finding } from "../model/finding.ts";
import { canRead, isGoing, isYoung, keyOf, list, MESH_NAMESPACE, record, text, type CertificateFact, type Facts } from "../model/facts.ts";

const DAY_MS = 86_400_000;
/** Own roots give way long before; this is for those that were plugged in. */
const SOON_MS = 30 * DAY_MS;
const URGENT_MS = 7 * DAY_MS;
/** Half of the shortest life that is renewed in time; ztunnel renews at half of a day. */
const LEAF_SOON_MS = 3_600_000;

export const trustDomainOf = (f: Facts): string => {
  const config = f.objects.configMaps.find((c) => c.metadata.namespace === MESH_NAMESPACE && c.metadata.name === "istio")?.data?.["mesh"] ?? "";
  const set = /^trustDomain:\s*"?([^\s"#]+)/m.exec(config)?.[1];
  if (set !== undefined) return set;
  const istiod = f.objects.deployments.find((d) => d.metadata.namespace === MESH_NAMESPACE && d.metadata.labels?.["app"] === "istiod");
  const env = list(record(record(record(istiod?.["spec"])["template"])["spec"])["containers"]).flatMap((c) => list(record(c)["env"]));
  return text(record(env.find((e) => record(e)["name"] === "TRUST_DOMAIN"))["value"]) || "cluster.local";
};
const aliasesOf = (f: Facts): readonly string[] => {
  const config = f.objects.configMaps.find((c) => c.metadata.namespace === MESH_NAMESPACE && c.metadata.name === "istio")?.data?.["mesh"] ?? "";
  const block = /^trustDomainAliases:\s*(\[[^\]]*\]|(?:\n\s*-\s*.+)+)/m.exec(config)?.[1] ?? "";
  return [...block.matchAll(/[\w*][\w.*-]*/g)].map(([word]) => word);
};

export const judgeCertificates = (f: Facts): Finding[] => [...authority(f), ...roots(f), ...leaves(f), ...trustDomain(f)];

function authority(f: Facts): Finding[] {
  // What workloads trust says the same where the Secret may not be read.
  const anchors = f.authority.length > 0 ? f.authority : (f.roots.find((r) => r.namespace === MESH_NAMESPACE)?.certificates ?? []);
  // While one root gives way to another the old one may end: only when the last ends is anything lost.
  const lasting = f.authority.length > 0 ? anchors : anchors.filter((a) => a.notAfter === Math.max(...anchors.map((x) => x.notAfter)));
  return lasting.flatMap((c) => {
    const pluggedIn = c.where.endsWith("/cacerts");
    const renewed = `put a renewed CA into Secret ${MESH_NAMESPACE}/cacerts (ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem); istiod takes it up by itself`;
    const mend = pluggedIn ? renewed : `kubectl -n ${MESH_NAMESPACE} annotate secret istio-ca-secret ambit.istio.io/roll-root=now`;
    const anew = pluggedIn ? renewed : `kubectl -n ${MESH_NAMESPACE} delete secret istio-ca-secret; kubectl -n ${MESH_NAMESPACE} rollout restart deployment istiod, which makes a new one; then rollout restart daemonset ztunnel, and the waypoints`;
    if (c.notAfter <= f.now) return [finding("AMB0301", c.where, `${c.subject} ended ${dayOf(c.notAfter)}; the API server's clock says ${dayOf(f.now)}: no certificate is signed or believed`, anew)];
    if (c.notBefore > f.now) return [finding("AMB0301", c.where, `${c.subject} begins only ${dayOf(c.notBefore)}; the API server's clock says ${dayOf(f.now)}`, `set the clock of the machine that made it right, and wait or replace it: ${anew}`)];
    const left = c.notAfter - f.now;
    return left > SOON_MS ? [] : [finding("AMB0302", c.where, `${c.subject} ends ${dayOf(c.notAfter)}, in ${Math.floor(left / DAY_MS)} days`, mend, left <= URGENT_MS ? "Error" : "Warning")];
  });
}

function roots(f: Facts): Finding[] {
  if (!canRead(f, "configMaps")) return [];
  const out: Finding[] = [];
  const spaces = f.objects.namespaces.filter((n) => !isGoing(n) && !isYoung(f, n));
  const without = spaces.filter((n) => !f.roots.some((r) => r.namespace === n.metadata.name)).map((n) => n.metadata.name);
  const mend = `istiod's leader writes it: kubectl -n ${MESH_NAMESPACE} logs deployment/istiod says what stops it (RBAC for configmaps, another controller, no leader)`;
  if (without.length > 0) out.push(finding("AMB0303", names(without.map((n) => `Namespace ${n}`)), "ConfigMap istio-ca-root-cert is missing: waypoints and ztunnels there cannot start", mend));
  const own = f.roots.find((r) => r.namespace === MESH_NAMESPACE)?.certificates;
  const print = (all: readonly CertificateFact[]): string => all.map((c) => c.fingerprint).sort().join();
  if (own === undefined) return out;
  const stale = f.roots.filter((r) => print(r.certificates) !== print(own)).map((r) => `ConfigMap ${r.namespace}/istio-ca-root-cert`);
  if (stale.length > 0) out.push(finding("AMB0304", names(stale), `not what ${MESH_NAMESPACE} has: peers there will not be believed`, `delete them, istiod's leader writes them anew; if they come back as they were, another istiod or a GitOps tool writes them: kubectl get configmap istio-ca-root-cert -n NAMESPACE -o yaml --show-managed-fields`));
  const anchor = f.authority.at(-1);
  // Of one that has ended it is enough to say that.
  if (anchor !== undefined && anchor.notAfter > f.now && !own.some((c) => f.authority.some((a) => a.fingerprint === c.fingerprint)))
    out.push(finding("AMB0304", `ConfigMap ${MESH_NAMESPACE}/istio-ca-root-cert`, `it does not hold ${anchor.subject}, the root of ${anchor.where}`, mend));
  return out;
}

function leaves(f: Facts): Finding[] {
  return f.ztunnels.flatMap((z) => {
    const ended = z.leaves.filter((l) => l.notAfter - f.now < LEAF_SOON_MS);
    const early = z.leaves.filter((l) => l.notBefore > f.now);
    const mend = `istiod signs them: kubectl -n ${MESH_NAMESPACE} logs deployment/istiod | grep '"scope":"ca"' says why not, and kubectl -n ${MESH_NAMESPACE} logs ${z.pod} how it was asked`;
    const where = `Pod ${MESH_NAMESPACE}/${z.pod}`;
    return [
      ...(ended.length === 0 ? [] : [finding("AMB0305", where, `certificates on ${z.node} end or ended: ${names(ended.map((l) => `${l.identity} ${dayOf(l.notAfter)}`))}; the API server's clock says ${dayOf(f.now)}`, mend)]),
      ...(early.length === 0 ? [] : [finding("AMB0305", where, `certificates on ${z.node} are not yet valid: ${names(early.map((l) => `${l.identity} from ${dayOf(l.notBefore)}`))}; the API server's clock says ${dayOf(f.now)}`, "bring the clocks of istiod's node and of the API server together")]),
      ...(z.waiting.length === 0 ? [] : [finding("AMB0306", where, `no certificate on ${z.node} for ${names(z.waiting.map((w) => `${w.identity} (${w.state})`))}: their connections are refused`, mend)]),
    ];
  });
}

function trustDomain(f: Facts): Finding[] {
  const domain = trustDomainOf(f);
  const domains = [domain, ...aliasesOf(f)];
  const foreign = f.ztunnels.flatMap((z) => z.leaves.filter((l) => !l.identity.startsWith(`spiffe://${domain}/`)).map((l) => l.identity));
  const mend = `make them one: TRUST_DOMAIN of Deployment ${MESH_NAMESPACE}/istiod and trustDomain of ConfigMap ${MESH_NAMESPACE}/istio; name old ones in trustDomainAliases`;
  const out = foreign.length === 0 ? [] : [finding("AMB0307", `Namespace ${MESH_NAMESPACE}`, `the mesh's trust domain is ${domain}, certificates are for ${names([...new Set(foreign)])}`, mend)];
  for (const policy of f.objects.authorizationPolicies) {
    const said = list(record(policy["spec"])["rules"]).flatMap((r) => list(record(r)["from"])).flatMap((s) => { const source = record(record(s)["source"]); return [...list(source["principals"]), ...list(source["notPrincipals"])]; }).map(text);
    const others = [...new Set(said.filter((p) => /^[^/*]+\/ns\//.test(p)).map((p) => p.slice(0, p.indexOf("/"))))].filter((d) => !domains.includes(d));
    if (others.length > 0) out.push(finding("AMB0307", `AuthorizationPolicy ${keyOf(policy)}`, `it names principals of trust domain ${others.join(", ")}; the mesh's is ${domain}: nobody here is one of them`, `write ${domain}/ns/NAMESPACE/sa/ACCOUNT, or add ${others.join(", ")} to trustDomainAliases of ConfigMap ${MESH_NAMESPACE}/istio`, "Warning"));
  }
  return out;
}

const dayOf = (ms: number): string => `${new Date(ms).toISOString().slice(0, 16)}Z`;
