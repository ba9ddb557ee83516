// Waypoints that come and go while long gRPC streams run through them: no stream fails, and new replicas get their share. `pnpm soak`.
import assert from "node:assert/strict";
import { join } from "node:path";
import { KINDS, type Pod } from "@ambit/kube";
import { MESH, MeshBed, podOf } from "../conformance/bed.fixture.ts";

const PROGRAM = join(import.meta.dirname, "../conformance/echo.ts");
/** From each of two nodes: clients use waypoints of their own zone. Enough for chance to even out. */
const CONNECTIONS = 200;
const STREAM_S = 6;
const SECONDS = 240;
/** The promise: replicas that came are at their share within two minutes. */
const SETTLED_MS = 120_000;
const COMPLAINTS_SHOWN = 20;
const SHARE_TOLERANCE = 0.2;
/** Of streams that go again because they met the end of their connection. */
const REFUSED_SHARE = 0.01;

describe("long streams through waypoints that come and go", function () {
  this.timeout(900_000);
  let bed: MeshBed;
  before(async () => { bed = await MeshBed.start(); });
  after(() => bed?.stop());
  const kubectl = (...args: string[]): Promise<string> => bed.lab.kubectl("-n", MESH, ...args);
  const scale = async (n: number): Promise<void> => {
    await kubectl("scale", "deployment/waypoint", `--replicas=${n}`);
    await kubectl("rollout", "status", "deployment/waypoint", "--timeout=120s");
  };
  /** Requests under way at each waypoint, as it says itself. */
  const spread = async (): Promise<number[]> => {
    const { items } = await bed.lab.client.list<Pod>(KINDS.pods, MESH, { labelSelector: "gateway.networking.k8s.io/gateway-name=waypoint" });
    const running = items.filter((p) => p.metadata.deletionTimestamp === undefined);
    return Promise.all(running.map(async (p) => {
      const text = await kubectl("exec", podOf("echo-v1"), "--", process.execPath, "-e", `fetch("http://${p.status?.podIP ?? ""}:15020/metrics").then(r=>r.text()).then(t=>process.stdout.write(t))`);
      return Number(/^ambit_waypoint_requests_active\S* (\d+)/m.exec(text)?.[1] ?? 0);
    }));
  };

  /** What ztunnels say of connections that failed: why a stream did is there. */
  const complaints = async (): Promise<string> => {
    const text = await bed.lab.kubectl("-n", "istio-system", "logs", "-l", "app=ztunnel", "--tail=-1");
    return text.split("\n").filter((line) => /error/.test(line)).slice(-COMPLAINTS_SHOWN).join("\n");
  };

  it(`2 → 6 → 2 replicas under ${CONNECTIONS} connections with streams of ${STREAM_S} s: none fails, and 6 share within ${SHARE_TOLERANCE * 100} %`, async () => {
    await scale(2);
    const loads = ["echo-v1", "echo-v2"].map((name) =>
      kubectl("exec", podOf(name), "--", process.execPath, PROGRAM, "stream", "grpc://echo:7070/", "--count", String(CONNECTIONS), "--seconds", String(SECONDS), "--length", String(STREAM_S)));
    await scale(6);
    const begin = Date.now();
    let shares: number[] = [];
    for (;;) {
      shares = await spread();
      const fair = shares.reduce((a, b) => a + b, 0) / 6;
      if (shares.length === 6 && fair > 0 && shares.every((n) => Math.abs(n - fair) <= Math.max(2, SHARE_TOLERANCE * fair))) break;
      if (Date.now() - begin > SETTLED_MS) break;
      await new Promise((resolve) => setTimeout(resolve, 2_000));
    }
    const settled = Date.now() - begin;
    await scale(2);
    const summaries = (await Promise.all(loads)).map((text) => JSON.parse(text.trim().split("\n").at(-1) ?? "{}") as { streams: number; refused: number; failed: number; errors: string[] });
    console.log(JSON.stringify({ summaries, shares, settled_s: settled / 1000 }));
    if (summaries.some((s) => s.failed > 0)) console.log(await complaints());
    assert.deepEqual(summaries.flatMap((s) => s.errors), []);
    assert.ok(summaries.every((s) => s.streams > CONNECTIONS && s.failed === 0), "streams ran");
    assert.ok(summaries.every((s) => s.refused < REFUSED_SHARE * s.streams), "streams crossed with the end of their connection, which ought to be rare");
    assert.ok(settled <= SETTLED_MS, `not spread after ${SETTLED_MS / 1000} s: ${shares.join(", ")}`);
  });

  it("scaled to nothing it refuses, scaled up it serves", async () => {
    await scale(0);
    await bed.eventually(async () => assert.ok((await bed.ask("http://echo/", { count: 2 })).every((a) => a.error !== undefined)));
    await scale(1);
    await bed.eventually(async () => assert.ok((await bed.ask("http://echo/", { count: 2 })).every((a) => a.status === 200)));
  });

  it("an eviction under load fails no request", async () => {
    await scale(2);
    const load = bed.ask("http://echo/?delay=20", { count: 2_000 });
    const { items } = await bed.lab.client.list<Pod>(KINDS.pods, MESH, { labelSelector: "gateway.networking.k8s.io/gateway-name=waypoint" });
    const victim = items.find((p) => p.metadata.deletionTimestamp === undefined)?.metadata.name ?? "";
    await bed.lab.client.request("POST", `/api/v1/namespaces/${MESH}/pods/${victim}/eviction`, { body: { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: victim, namespace: MESH } } });
    assert.deepEqual((await load).filter((a) => a.status !== 200).slice(0, 5), []);
  });
});
