// Names inside enrolled pods: the mesh's own are answered in the pod, everything else by cluster DNS; without either they resolve on.
import assert from "node:assert/strict";
import { KINDS, type KubeObject, type Pod } from "@ambit/kube";
import { accountOf, documents, namespaceOf, samplePod, saidBy, serviceOf } from "./client-log.fixture.ts";
import { TestCluster } from "./cluster.fixture.ts";

const ENTRY = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: db, namespace: t }
spec:
  hosts: [db.outside.example]
  ports: [{ number: 5432, name: tcp, protocol: TCP }]
  resolution: STATIC
  endpoints: [{ address: 192.0.2.7 }]
`;
const service = (name: string, spec: object, namespace = "t"): string => JSON.stringify({ apiVersion: "v1", kind: "Service", metadata: { name, namespace }, spec });
interface Outcome { readonly found?: readonly string[]; readonly code?: string; readonly ms: number }

describe("names in enrolled pods", function () {
  this.timeout(180_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let lab: TestCluster;
  let vip: string;
  let farVip: string;
  let apiVip: string;
  before(async () => {
    lab = await TestCluster.start();
    await lab.apply(documents(
      namespaceOf("t", true), namespaceOf("far", false), accountOf("client"), accountOf("server"), serviceOf("server"), serviceOf("away", "far"), ENTRY,
      service("headless", { clusterIP: "None", selector: { app: "server" }, ports: [{ name: "http", port: 8080 }] }),
      service("elsewhere", { type: "ExternalName", externalName: "server.t.svc.cluster.local" }),
      samplePod({ name: "server", account: "server", node: "node-2", args: ["serve", "--name", "server"] }),
      samplePod({ name: "client", account: "client", node: "node-1", args: ["client", "--url", "http://server.t:8080/", "--every", "50"] }),
    ));
    await lab.ready("t", { enrolled: true, count: 2 });
    const services = await lab.until<KubeObject>(KINDS.services, undefined, (all) => all.length > 0);
    const vipOf = (namespace: string, name: string) => (services.find((s) => s.metadata.namespace === namespace && s.metadata.name === name)?.["spec"] as { clusterIP?: string } | undefined)?.clusterIP ?? "";
    [vip, farVip, apiVip] = [vipOf("t", "server"), vipOf("far", "away"), vipOf("default", "kubernetes")];
    assert.ok(vip !== "" && farVip !== "");
  });
  after(() => lab.stop());

  const ask = async (how: string, name: string, times = 1): Promise<Outcome[]> => {
    const text = await lab.kubectl("-n", "t", "exec", "client", "--", ...lab.program("resolve", how, name, String(times)));
    return text.trim().split("\n").map((line) => JSON.parse(line) as Outcome);
  };
  const one = async (how: string, name: string): Promise<string> => {
    const [o] = await ask(how, name);
    return o?.found?.join(" ") ?? o?.code ?? "nothing";
  };
  /** By the C library over TCP. */
  const overTcp = async (name: string): Promise<string> =>
    [...new Set((await lab.kubectl("-n", "t", "exec", "client", "--", "env", "RES_OPTIONS=use-vc", "getent", "ahostsv4", name)).split("\n").map((l) => l.split(" ")[0] ?? ""))].join(" ").trim();
  const podIp = async (name: string): Promise<string> => (await lab.client.get<Pod>(KINDS.pods, "t", name)).status?.podIP ?? "";
  const requests = async (since: number) => (await saidBy(lab, "t", "client")).filter((s) => s.kind === "request" && s.t > since);
  /** What ztunnel on the client's node counted, by protocol. */
  const counted = async (metric: string, protocol: string): Promise<number> => {
    const [ztunnel] = (await lab.client.list<Pod>(KINDS.pods, "istio-system")).items.filter((p) => p.metadata.labels?.["app"] === "ztunnel" && p.spec.nodeName === "node-1");
    const text = await lab.run("node-1", "curl", "-s", `http://${ztunnel?.status?.podIP}:15020/metrics`);
    return [...text.matchAll(new RegExp(`^${metric}\\{[^}]*request_protocol="${protocol}"[^}]*\\} (\\d+)`, "gm"))].reduce((n, m) => n + Number(m[1]), 0);
  };
  const known = async (): Promise<[string, string][]> => [
    ["server", vip], ["server.t", vip], ["server.t.svc", vip], ["server.t.svc.cluster.local", vip], ["away.far", farVip], ["headless", await podIp("server")], ["kubernetes.default", apiVip],
  ];

  it("the mesh's names, over UDP and over TCP, are answered in the pod", async () => {
    const [udp, tcp] = [await counted("istio_dns_requests_total", "udp"), await counted("istio_dns_requests_total", "tcp")];
    for (const [name, expected] of await known()) {
      assert.equal(await one("lookup", name), expected, name);
      assert.equal(await overTcp(name), expected, `${name} over TCP`);
    }
    assert.ok(await counted("istio_dns_requests_total", "udp") >= udp + 7);
    assert.ok(await counted("istio_dns_requests_total", "tcp") >= tcp + 7);
  });
  it("a name without an address of the family is no unknown name", async () => assert.equal(await one("AAAA", "server.t.svc.cluster.local"), "ENODATA"));
  it("a ServiceEntry's host has the address that the control plane gave it, which cluster DNS does not know", async () => {
    const [entry] = await lab.until<KubeObject>(KINDS.serviceEntries, "t", (all) => ((all[0]?.["status"] as { addresses?: unknown[] } | undefined)?.addresses?.length ?? 0) > 0);
    const addresses = (entry?.["status"] as { addresses: { value: string }[] }).addresses.map((a) => a.value);
    const expected = addresses.find((a) => !a.includes(":"));
    assert.match(expected ?? "", /^240\.240\./);
    const deadline = Date.now() + 10_000;
    while (await one("lookup", "db.outside.example") !== expected) assert.ok(Date.now() < deadline, await one("lookup", "db.outside.example"));
    assert.equal(await overTcp("db.outside.example"), expected);
  });
  it("everything else is cluster DNS's: other types, aliases, names that do not exist", async () => {
    assert.equal(await one("SRV", "_http._tcp.server.t.svc.cluster.local"), "server.t.svc.cluster.local:8080");
    assert.equal(await one("CNAME", "elsewhere.t.svc.cluster.local"), "server.t.svc.cluster.local");
    assert.equal(await one("lookup", "elsewhere"), vip);
    assert.equal(await overTcp("elsewhere"), vip);
    assert.equal(await one("A", "nobody.t.svc.cluster.local"), "ENOTFOUND");
    assert.ok(await counted("istio_dns_upstream_requests_total", "udp") > 0);
  });

  describe("while control plane and cluster DNS are killed and stay away", () => {
    const scale = async (replicas: number) => {
      await lab.kubectl("-n", "istio-system", "scale", "deployment/istiod", `--replicas=${replicas}`);
      await lab.kubectl("-n", "kube-system", "scale", "deployment/coredns", `--replicas=${replicas}`);
    };
    let began: number;
    before(() => { began = Date.now(); });

    it("known names resolve from the first moment", async () => {
      await Promise.all([lab.kill("istiod-lite"), lab.kill("dns")]);
      const outcomes = await ask("lookup", "server.t", 500);
      assert.deepEqual(outcomes.filter((o) => o.found?.join(" ") !== vip), []);
    });
    it("and go on to, however they are written, over UDP and TCP", async () => {
      await scale(0);
      const gone = (app: RegExp) => (pods: Pod[]) => !pods.some((p) => app.test(p.metadata.name));
      await lab.until<Pod>(KINDS.pods, "istio-system", gone(/^istiod/), 60_000);
      await lab.until<Pod>(KINDS.pods, "kube-system", gone(/^coredns/), 60_000);
      for (const [name, expected] of await known()) {
        assert.equal(await one("lookup", name), expected, name);
        assert.equal(await overTcp(name), expected, `${name} over TCP`);
      }
    });
    it("others fail in bounded time", async () => {
      const [o] = await ask("A", "example.org");
      assert.ok(o !== undefined && o.code !== undefined && o.code !== "ENOTFOUND" && o.ms < 6_000, JSON.stringify(o));
    });
    it("no request failed, and what failed works again when cluster DNS is back", async () => {
      await scale(1);
      await lab.ready("kube-system", { limitMs: 60_000 });
      await lab.ready("istio-system", { limitMs: 60_000 });
      assert.equal(await one("CNAME", "elsewhere.t.svc.cluster.local"), "server.t.svc.cluster.local");
      const said = await requests(began);
      assert.ok(said.length > 50);
      assert.deepEqual(said.filter((s) => s.ok !== true), []);
    });
  });
});
