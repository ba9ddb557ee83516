// Ten thousand lives of objects through the whole way from source to served resource leave nothing behind (R17 of the parity table).
import assert from "node:assert/strict";
import { addressSource, authorizationSource, buildMesh, createTicker, DEFAULT_SETTINGS } from "@ambit/istiod-lite/testing";
import { heldOctets } from "@ambit/testkit";
import { ServerSubscription, ResourceTable } from "@ambit/xds/testing";
import { SimClock } from "./clock.fixture.ts";

const CYCLES = 10_000;
/** What a young heap settles by itself; a leak of 100 bytes a cycle would be 800 KB. */
const GROWTH_MAX_BYTES = 800_000;

describe("churn", () => {
  it(`leaves the heap flat over ${CYCLES} lives of pods, services, entries and policies`, async () => {
    const clock = new SimClock();
    const mesh = buildMesh(DEFAULT_SETTINGS);
    const ticker = createTicker(clock);
    const tables = [authorizationSource(mesh.authorizations, ticker, clock), addressSource(mesh.addresses, ticker)].map((source) => {
      const table = new ResourceTable(source);
      const client = new ServerSubscription({ versioned: true, noncePrefix: "n" });
      client.request({ node: undefined, typeUrl: source.typeUrl, subscribe: [], unsubscribe: [], initialVersions: new Map(), nonce: "", error: undefined }, table);
      table.onChange((names) => client.change(names, table));
      return { table, client };
    });
    const meta = (name: string) => ({ name, namespace: "shop", uid: name, labels: { app: name }, annotations: { "ambient.istio.io/redirection": "enabled" } });
    const live = async (i: number): Promise<void> => {
      const name = `x-${i}`;
      const key = `shop/${name}`;
      mesh.batch(() => {
        mesh.sources.pods.set({ metadata: meta(name), spec: { nodeName: `n-${i}`, serviceAccountName: name, containers: [] }, status: { phase: "Running", podIP: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}` } });
        mesh.sources.services.set({ metadata: meta(name), spec: { clusterIP: "10.96.0.1", selector: { app: name }, ports: [{ port: 80 }] } });
        mesh.sources.serviceEntries.set({ metadata: meta(name), spec: { hosts: [`${name}.example.com`], ports: [{ number: 80, name: "http" }], resolution: "STATIC", endpoints: [{ address: "10.9.9.9" }] } });
        mesh.sources.authorizationPolicies.set({ metadata: meta(name), spec: { selector: { matchLabels: { app: name } }, rules: [{}] } });
        mesh.sources.namespaces.set({ metadata: { name, uid: name } });
      });
      await step();
      mesh.batch(() => {
        for (const source of ["pods", "services", "serviceEntries", "authorizationPolicies"] as const) mesh.sources[source].delete(key);
        mesh.sources.namespaces.delete(name);
      });
      await step();
    };
    const step = async (): Promise<void> => {
      await clock.advance(700, () => Promise.resolve());
      for (const { table, client } of tables)
        for (let chunk = client.next(table, { resources: 100, bytes: 1e6 }, "v"); chunk !== undefined; chunk = client.next(table, { resources: 100, bytes: 1e6 }, "v"))
          client.request({ node: undefined, typeUrl: table.source.typeUrl, subscribe: [], unsubscribe: [], initialVersions: new Map(), nonce: chunk.nonce, error: undefined }, table);
    };
    for (let i = 0; i < CYCLES / 5; i++) await live(i);
    const before = heldOctets();
    for (let i = CYCLES / 5; i < CYCLES; i++) await live(i);
    const grown = heldOctets() - before;
    assert.deepEqual([mesh.addresses.size, mesh.authorizations.size, ...tables.map((t) => t.table.size)], [0, 0, 0, 0]);
    assert.ok(grown < GROWTH_MAX_BYTES, `the heap has grown by ${Math.round(grown / 1024)} KiB`);
  }).timeout(120_000);
});
