// Owns the conformance suite's cases of BackendTLSPolicy, TLSRoute and TCPRoute, under their own names, as a mesh has them: a Service in the place of a Gateway.
import assert from "node:assert/strict";
import { fakeCa } from "@ambit/testkit";
import { accountOf, documents } from "../e2e/client-log.fixture.ts";
import { echoPod, grpcRoute, httpRoute, MESH, podOf, toService, type MeshBed } from "./bed.fixture.ts";

const NAME = "secure.example.com";
const SPIFFE = "spiffe://example.com/secure";
const service = JSON.stringify({
  apiVersion: "v1", kind: "Service", metadata: { name: "echo-tls", namespace: MESH },
  spec: { selector: { instance: "echo-tls" }, ports: [{ name: "http", port: 80, targetPort: 8443 }, { name: "grpc", port: 7070, targetPort: 8443 }, { name: "tls", port: 443, targetPort: 8443, appProtocol: "tls" }, { name: "tcp", port: 9090, targetPort: 9090 }] },
});
const configMap = (name: string, text: string): object => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: MESH }, data: { "ca.crt": text } });
const policy = (name: string, validation: object, sectionName?: string): object => ({
  apiVersion: "gateway.networking.k8s.io/v1", kind: "BackendTLSPolicy", metadata: { name, namespace: MESH },
  spec: { targetRefs: [{ group: "", kind: "Service", name: "echo-tls", ...(sectionName === undefined ? {} : { sectionName }) }], validation: { hostname: NAME, caCertificateRefs: [{ group: "", kind: "ConfigMap", name: "authority" }], ...validation } },
});

/** Within a describe whose bed is up. */
export function backendTlsCases(bed: () => MeshBed): void {
  const ca = fakeCa();
  const leaf = ca.issue({ dnsNames: [NAME], uris: [SPIFFE] });
  before(async () => {
    await bed().lab.apply(documents(accountOf("echo-tls", MESH), service, echoPod(bed().lab, "echo-tls", MESH, "node-1", {}, { TLS_CERT: leaf.certPem, TLS_KEY: leaf.keyPem }), JSON.stringify(configMap("authority", ca.rootPem))));
    await bed().lab.kubectl("-n", MESH, "wait", "--for=condition=Ready", "pod/echo-tls-pod", "--timeout=60s");
  });

  const asked = async (url = "http://echo-tls/"): Promise<unknown> => {
    const answer = await bed().askOnce(url);
    return answer.status === 200 ? (answer.grpcStatus ?? answer.seen?.sni ?? "plain") : answer.status;
  };
  const answers = (expected: unknown, url?: string): Promise<void> => bed().eventually(async () => assert.equal(await asked(url), expected));
  const says = (name: string, wanted: Readonly<Record<string, string>>): Promise<void> => bed().eventually(async () => {
    const [ancestor] = await bed().statusList("BackendTLSPolicy", MESH, name, "ancestors");
    assert.deepEqual(ancestor?.["ancestorRef"], { group: "", kind: "Service", namespace: MESH, name: "echo-tls" });
    assert.deepEqual(Object.fromEntries(((ancestor?.["conditions"] ?? []) as { type: string; status: string; reason: string }[]).map((c) => [c.type, `${c.status} ${c.reason}`])), wanted);
  });
  const GOOD = { Accepted: "True Accepted", ResolvedRefs: "True ResolvedRefs" };

  /** The name of the certificate that answers, and the greeting of a server that speaks first; or why there is none. */
  const dial = (script: string): Promise<string> => bed().lab.kubectl("-n", MESH, "exec", podOf("echo-v1"), "--", process.execPath, "-e", script);
  const certificate = (host: string, port: number, servername: string): Promise<string> => dial(`const s=require("tls").connect({host:"${host}",port:${port},servername:"${servername}",rejectUnauthorized:false},()=>{process.stdout.write(s.getPeerCertificate().subjectaltname);s.destroy()});s.setTimeout(4000,()=>s.destroy());s.on("error",e=>process.stdout.write(e.code))`);
  const greeting = (host: string): Promise<string> => dial(`const s=require("net").connect(9090,"${host}");s.setTimeout(4000,()=>s.destroy());s.once("data",d=>{process.stdout.write(String(d));s.destroy()});s.on("error",e=>process.stdout.write(e.code));s.on("close",()=>process.stdout.write("."))`);
  const l4Route = (kind: "TLSRoute" | "TCPRoute", name: string, spec: object): object => ({ apiVersion: `gateway.networking.k8s.io/${kind === "TLSRoute" ? "v1" : "v1alpha2"}`, kind, metadata: { name, namespace: MESH }, spec });
  const accepted = (kind: "TLSRoute" | "TCPRoute", name: string): Promise<void> => bed().eventually(async () => {
    const [parent] = await bed().statusList(kind, MESH, name, "parents");
    assert.ok(((parent?.["conditions"] ?? []) as { type: string; status: string }[]).some((c) => c.type === "Accepted" && c.status === "True"));
  });

  it("TLSRouteSimpleSameNamespace", () => bed().with([l4Route("TLSRoute", "by-name", { parentRefs: [toService("echo-tls", 443)], hostnames: [NAME, "*.wild.example.com"], rules: [{ backendRefs: [{ name: "echo-tls", port: 443 }] }] })], async () => {
    await accepted("TLSRoute", "by-name");
    await bed().eventually(async () => assert.match(await certificate("echo-tls", 443, NAME), new RegExp(`DNS:${NAME}`)));
    assert.match(await certificate("echo-tls", 443, "a.wild.example.com"), new RegExp(`DNS:${NAME}`));
    await bed().eventually(async () => assert.match(await certificate("echo-tls", 443, "other.example.com"), /^ECONNRESET|^EPIPE/));
  }));

  it("TCPRouteWeightedRouting", async () => {
    await bed().eventually(async () => assert.match(await greeting("echo-tls"), /hello from echo-tls/));
    await bed().with([l4Route("TCPRoute", "weights", { parentRefs: [toService("echo-tls", 9090)], rules: [{ backendRefs: [{ name: "echo-v2", port: 9090, weight: 1 }, { name: "echo-v1", port: 9090, weight: 0 }] }] })], async () => {
      await accepted("TCPRoute", "weights");
      await bed().eventually(async () => assert.deepEqual([...new Set(await Promise.all(Array.from({ length: 5 }, () => greeting("echo-tls"))))], ["hello from echo-v2\n."]));
    });
  });

  it("BackendTLSPolicy", async () => {
    await answers(503);
    await bed().with([policy("tls", {})], async () => {
      await answers(NAME);
      await says("tls", GOOD);
      // Who speaks TLS with the application itself goes on doing so.
      assert.match(await certificate("echo-tls", 443, NAME), new RegExp(`DNS:${NAME}`));
      await bed().with([httpRoute("to-tls", { parentRefs: [toService("echo", 80)], rules: [{ backendRefs: [{ name: "echo-tls", port: 80 }] }] })], () => answers(NAME, "http://echo/"));
    });
    await answers(503);
  });

  it("BackendTLSPolicySANValidation", async () => {
    await bed().with([policy("tls", { hostname: "sent.example.com", subjectAltNames: [{ type: "Hostname", hostname: NAME }] })], () => answers("sent.example.com"));
    await bed().with([policy("tls", { hostname: "sent.example.com", subjectAltNames: [{ type: "Hostname", hostname: "other.example.com" }, { type: "URI", uri: SPIFFE }] })], () => answers("sent.example.com"));
    await bed().with([policy("tls", { subjectAltNames: [{ type: "Hostname", hostname: "other.example.com" }, { type: "URI", uri: `${SPIFFE}/more` }] })], async () => {
      await says("tls", GOOD);
      await answers(503);
    });
    await bed().with([policy("tls", { hostname: "other.example.com" })], () => answers(503));
  });

  it("BackendTLSPolicyConflictResolution", () => bed().with([policy("a-first", {})], async () => {
    await answers(NAME);
    await bed().with([policy("b-second", { hostname: "other.example.com" }), policy("c-port", {}, "grpc")], async () => {
      await says("b-second", { Accepted: "False Conflicted", ResolvedRefs: "True ResolvedRefs" });
      await says("a-first", GOOD);
      assert.equal(await asked(), NAME);
    });
  }));

  it("BackendTLSPolicyInvalidCACertificateRef", async () => {
    for (const [name, map] of [["missing", undefined], ["malformed", configMap("malformed", "nothing")]] as const)
      await bed().with([...(map === undefined ? [] : [map]), policy(name, { caCertificateRefs: [{ group: "", kind: "ConfigMap", name }] })], async () => {
        await says(name, { Accepted: "False NoValidCACertificate", ResolvedRefs: "False InvalidCACertificateRef" });
        await answers(503);
        if (map !== undefined) return;
        // What was missing comes.
        await bed().with([configMap(name, ca.rootPem)], async () => {
          await says(name, GOOD);
          await answers(NAME);
        });
      });
  });

  it("BackendTLSPolicyInvalidKind", () => bed().with([policy("kind", { caCertificateRefs: [{ group: "example.com", kind: "Bundle", name: "authority" }] })], async () => {
    await says("kind", { Accepted: "False NoValidCACertificate", ResolvedRefs: "False InvalidKind" });
    await answers(503);
  }));

  it("BackendTLSPolicyObservedGenerationBump", () => bed().with([policy("generation", {})], async () => {
    const generations = async (): Promise<unknown[]> => ((await bed().statusList("BackendTLSPolicy", MESH, "generation", "ancestors"))[0]?.["conditions"] as { observedGeneration: number }[] | undefined ?? []).map((c) => c.observedGeneration);
    await bed().eventually(async () => assert.deepEqual(await generations(), [1, 1]));
    await bed().lab.kubectl("-n", MESH, "patch", "backendtlspolicy", "generation", "--type", "merge", "-p", JSON.stringify({ spec: { validation: { hostname: "changed.example.com" } } }));
    await bed().eventually(async () => assert.deepEqual(await generations(), [2, 2]));
  }));

  it("BackendTLSPolicyGRPCRoute", () => bed().with([policy("tls", {}), grpcRoute("to-tls", { parentRefs: [toService("echo", 7070)], rules: [{ backendRefs: [{ name: "echo-tls", port: 7070 }] }] })], () => answers(0, "grpc://echo:7070/")));
}
