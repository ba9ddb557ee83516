// What `ambit` says about a running mesh, the same in every format; and how it refuses what was typed wrongly.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { load } from "js-yaml";
import { ambitLater, type Ran } from "./cli.fixture.ts";
import { accountOf, documents, namespaceOf, samplePod, saidUntil, serviceOf } from "./client-log.fixture.ts";
import { TestLab } from "./lab.fixture.ts";

const DENY = JSON.stringify({
  apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata: { name: "no-stranger", namespace: "t" },
  spec: { action: "DENY", rules: [{ from: [{ source: { principals: ["cluster.local/ns/t/sa/stranger"] } }] }] },
});
const HTTP_RULE = JSON.stringify({
  apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata: { name: "http", namespace: "other" },
  spec: { selector: { matchLabels: { app: "nobody" } }, action: "ALLOW", rules: [{ to: [{ operation: { methods: ["GET"] } }] }] },
});

describe("ambit", function () {
  this.timeout(120_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let lab: TestLab;
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "ac-"));
    lab = await TestLab.start();
    await lab.apply(documents(
      namespaceOf("t", true), namespaceOf("other", false), accountOf("friend"), accountOf("stranger"), accountOf("server"), serviceOf("server"), DENY, HTTP_RULE,
      samplePod({ name: "server", account: "server", node: "node-2", args: ["serve", "--name", "server"] }),
      samplePod({ name: "friend", account: "friend", node: "node-1", args: ["client", "--url", "http://server.t:8080/", "--hold", "server.t:9080"] }),
      samplePod({ name: "stranger", account: "stranger", node: "node-1", args: ["client", "--url", "http://server.t:8080/"] }),
    ));
    await lab.ready("t", { enrolled: true, count: 3 });
    await saidUntil(lab, "t", "friend", (said) => said.some((s) => s.event === "echo"));
    await saidUntil(lab, "t", "stranger", (said) => said.some((s) => s.ok === false));
  });
  after(async () => {
    await lab?.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const ask = (...args: string[]): Promise<Ran> => ambitLater([...args, "--state", dirname(lab.kubeconfig)]);

  /** The three formats of one question; json and yaml must be one value. */
  async function formats(...args: string[]): Promise<{ table: string; value: unknown; code: number | null }> {
    const [table, json, yaml] = await Promise.all(["table", "json", "yaml"].map((format) => ask(...args, "-o", format))) as [Ran, Ran, Ran];
    assert.deepEqual([json.code, yaml.code], [table.code, table.code], table.err + json.err + yaml.err);
    const value: unknown = JSON.parse(json.out);
    const text = (v: unknown): string => JSON.stringify(v, (key, x: unknown) => (VOLATILE.has(key) ? undefined : x));
    assert.equal(text(load(yaml.out)), text(value));
    return { table: table.out, value, code: table.code };
  }
  /** Counters and open connections go on while we ask three times. */
  const VOLATILE = new Set(["connections", "received", "sent", "originalDst", "actualDst", "src"]);

  it("status: parts, enrolment, and the policy that is not as written", async () => {
    const { table, value, code } = await formats("status");
    const { parts, namespaces, policies, ok } = value as { ok: boolean; parts: { part: string; pod: string }[]; namespaces: { namespace: string; enrolled: number; pods: number }[]; policies: { policy: string; message: string }[] };
    assert.deepEqual(parts.map((p) => p.part), ["istio-cni", "istio-cni", "istiod", "ztunnel", "ztunnel"]);
    assert.deepEqual(namespaces.map((n) => [n.namespace, n.enrolled, n.pods]), [["t", 3, 3]]);
    assert.deepEqual(policies.map((p) => p.policy), ["other/http"]);
    assert.deepEqual([ok, code], [false, 1]);
    for (const word of [...parts.map((p) => p.pod), "t ", "3/3", "other/http", ...policies.map((p) => p.message.slice(0, 20))]) assert.ok(table.includes(word), `${word} in\n${table}`);
  });

  for (const [view, row, of] of [
    ["workloads", /^t +server +10\.244\.2\.\d+ +node-2 +None +HBONE$/m, (v: { namespace: string; name: string }[]) => v.map((w) => w.name)],
    ["services", /^t +server +10\.96\.\d+\.\d+ +None +1\/1$/m, (v: { name: string }[]) => v.map((s) => s.name)],
    ["policies", /^t +no-stranger +Deny +Namespace$/m, (v: { name: string }[]) => v.map((p) => p.name)],
    ["certificates", /spiffe:\/\/cluster\.local\/ns\/t\/sa\/friend +Leaf +Available +true/, (v: { identity: string }[]) => v.map((c) => c.identity)],
    ["connections", /^t\/friend +outbound +10\.244\.1\.\d+:\d+ .*HBONE$/m, (v: { info: { name: string } }[]) => v.map((w) => w.info.name)],
  ] as const) it(`ztunnel ${view}: the same rows in every format`, async () => {
    const { table, value } = await formats("ztunnel", view, "node-1");
    assert.match(table, row);
    const names = (of as (v: unknown) => string[])(value);
    assert.ok(names.length > 0);
    if (view !== "connections") for (const name of names) assert.ok(table.includes(name), `${name} in\n${table}`);
  });

  it("ztunnel of no node lists the nodes; a namespace narrows", async () => {
    const wrong = await ask("ztunnel", "workloads", "node-9");
    assert.deepEqual([wrong.code, wrong.err], [1, 'ambit: no ztunnel on node "node-9": there are node-1, node-2\n']);
    assert.doesNotMatch((await ask("ztunnel", "workloads", "node-1", "-n", "t")).out, /istio-system/);
  });

  it("why: allowed, denied by which rule of which policy, and unknown names with what there is", async () => {
    const allowed = await formats("why", "t/friend", "server:8080");
    assert.equal(allowed.code, 0);
    assert.match(allowed.table, /^ALLOWED: .*friend.*server/);
    const denied = await formats("why", "t/stranger", "server.t.svc.cluster.local:8080");
    assert.equal(denied.code, 1);
    assert.match(denied.table, /^DENIED: [^]*t\/no-stranger[^]*rule/i);
    assert.match(JSON.stringify(denied.value), /"outcome":"denied"[^]*t\/no-stranger/i);
    const cases: [string[], RegExp][] = [
      [["t/friend", "sever"], /no service is called "sever" as seen from namespace "t"; known: .*server\.t/], [["t/nobody", "server:80"], /no pod "nobody" in namespace "t"; there are friend, server, stranger|there are .*friend/],
      [["void/x", "server"], /the namespace has no pods/], [["t/friend", "server"], /has ports 8080, 9080: say which, as server:8080/], [["friend", "server:80"], /"friend" is not of the form NAMESPACE\/POD/],
      [["t/friend", "server:99999"], /a port is 1 to 65535/], [["t/friend", "::::"], /is not HOST/],
    ];
    const answers = await Promise.all(cases.map(([args]) => ask("why", ...args)));
    for (const [i, said] of answers.entries()) {
      assert.equal(said.code, 1);
      assert.match(said.err, cases[i]?.[1] ?? /never/);
      assert.match(said.err, /^ambit: [^\n]+\n$/);
    }
  });

  it("why works offline from files as well", async () => {
    const files = join(folder, "objects");
    mkdirSync(files);
    writeFileSync(join(files, "a.yaml"), await lab.kubectl("get", "pods,services,namespaces,nodes,endpointslices,authorizationpolicies", "-A", "-o", "yaml"));
    const said = await ambitLater(["why", "t/stranger", "server:8080", "-f", files]);
    assert.match(said.out, /^DENIED: [^]*t\/no-stranger/, said.err);
  });

  it("version and lab status in every format", async () => {
    const version = await Promise.all(["table", "json", "yaml"].map((format) => ambitLater(["version", "-o", format])));
    const { ambit } = JSON.parse(version[1]?.out ?? "") as { ambit: string };
    for (const said of version) assert.ok(said.out.includes(ambit));
    assert.match((await formats("lab", "status")).table, /node-1 +yes +\d+ +\d+ +2/);
  });

  const wrong: readonly (readonly [string, RegExp])[] = [
    ["nonsense", /unknown command 'nonsense'/], ["status -o xml", /'xml' is invalid\. Allowed choices are table, json, yaml/], ["status --nope", /unknown option '--nope'/], ["status more", /too many arguments/],
    ["lab up --nodes 0", /--nodes .* 1 to 200, not "0"/], ["lab up --nodes two", /--nodes .*"two"/], ["lab up --port 70000", /--port .* 0 to 65535, not "70000"/], ["lab up --exit", /--exit goes with --tour/], ["lab up --detach --tour", /--tour is for the foreground/],
    ["lab up --nodes", /'--nodes <n>' argument missing/], ["lab down x", /too many arguments for 'down'/], ["lab exec", /missing required argument 'where'/], ["lab exec fabric", /missing required argument 'command'/],
    ["lab image add", /missing required argument 'name'/], ["lab image add x y", /comes --command and the command, not "y"/], ["lab image add x --command", /--command/], ["lab image add Bad: --command y", /"Bad:" is not an image name/], ["lab image load", /missing required argument 'file'/],
    ["why", /missing required argument 'from'/], ["why a b c d", /too many arguments for 'why'/], ["analyze --nope", /unknown option '--nope'/], ["analyze --failure-threshold loud", /Allowed choices are Info, Warning, Error/], ["ztunnel pods x", /unknown command 'pods'/], ["ztunnel workloads", /missing required argument 'node'/], ["version -o text", /'text' is invalid/],
  ];
  it("every wrong flag: exit 2 and one line that names it", async () => {
    const env = { AMBIT_LAB_DIR: join(folder, "none") };
    for (let i = 0; i < wrong.length; i += 4) await Promise.all(wrong.slice(i, i + 4).map(async ([line, expected]) => {
      const said = await ambitLater(line.split(" "), { env });
      assert.equal(said.code, 2, `${line}: ${said.out}${said.err}`);
      assert.match(said.err, expected, line);
      assert.match(said.err, /^ambit: [^\n]+\n$/, line);
    }));
  });

  it("broken kubeconfigs: exit 1 and one line that names the file", async () => {
    const config = (cluster: object, user: object, top: object = {}) => JSON.stringify({ apiVersion: "v1", kind: "Config", "current-context": "x", contexts: [{ name: "x", context: { cluster: "c", user: "u" } }], clusters: [{ name: "c", cluster }], users: [{ name: "u", user }], ...top });
    const refused = { server: "https://127.0.0.1:1" };
    const files: readonly (readonly [string, string, RegExp?])[] = [
      ["empty", ""], ["bytes", "\0\x01\x02"], ["text", "just text"], ["list", "[1]"], ["yaml", "a: [b"], ["nothing", "kind: Config"], ["context", config(refused, {}, { contexts: [] })], ["cluster", config(refused, {}, { clusters: [] })], ["user", config(refused, {}, { users: [] })],
      ["server", config({ server: "not a url" }, {})], ["scheme", config({ server: "ftp://x" }, {})], ["ca", config({ ...refused, "certificate-authority-data": "!!!" }, {})], ["ca-file", config({ ...refused, "certificate-authority": "/no/such.pem" }, {})],
      ["cert", config(refused, { "client-certificate-data": "aGVsbG8=", "client-key-data": "aGVsbG8=" })], ["exec", config(refused, { exec: { command: "/bin/false" } })], ["closed", config(refused, {}), /127\.0\.0\.1:1.*ECONNREFUSED/],
    ];
    for (let i = 0; i < files.length; i += 4) await Promise.all(files.slice(i, i + 4).map(async ([name, text, expected]) => {
      const path = join(folder, `kubeconfig-${name}`);
      writeFileSync(path, text);
      const said = await ambitLater(["status", "--kubeconfig", path]);
      assert.equal(said.code, 1, name);
      assert.match(said.err, /^ambit: [^\n]+\n$/, name);
      assert.match(said.err, expected ?? new RegExp(path), name);
    }));
  });
});
