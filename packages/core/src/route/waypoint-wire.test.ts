import assert from "node:assert/strict";
import type { WaypointConfig } from "./waypoint-config.ts";
import { decodeWaypointConfig, encodeWaypointConfig } from "./waypoint-wire.ts";

const config = (more: Partial<WaypointConfig> = {}): WaypointConfig => ({
  namespace: "shop", name: "waypoint", serves: "service", trustDomain: "cluster.local", trustDomainAliases: [], pathNormalization: "base",
  defaultRetry: { retries: 2, on: ["connect-failure"], statuses: [], backoffMs: 25, backoffMaxMs: 250 }, trustedProxies: 0,
  services: new Map([["shop/b.shop.svc", { producer: new Map([[80, { kind: "http", routes: [], fallThrough: false }]]), consumers: new Map() }], ["shop/a.shop.svc", { producer: new Map(), consumers: new Map() }]]),
  traffic: new Map(), policies: [], authentications: [], authorizationProviders: new Map(), workloadLabels: new Map(),
  telemetry: {
    accessLog: { enabled: false, encoding: "text", format: undefined, filter: undefined },
    tracing: { provider: undefined, samplingPercent: 1, customTags: [] }, metrics: { enabled: true, overrides: [] },
  },
  serviceTelemetry: new Map(), ...more,
});

describe("the configuration of a waypoint on the wire", () => {
  it("comes back as it went, maps with number keys included", () => {
    const back = decodeWaypointConfig(encodeWaypointConfig(config()));
    assert.ok(back.ok);
    assert.deepEqual(back.value.services.get("shop/b.shop.svc")?.producer.get(80), { kind: "http", routes: [], fallThrough: false });
    assert.equal(encodeWaypointConfig(back.value), encodeWaypointConfig(config()));
  });

  it("is what JSON says of each value", () => {
    const odd = { a: [undefined, null, 1.5, NaN, "\u2028\"", true, {}], b: undefined, c: new Map<unknown, unknown>([[2, undefined], [10, { z: 1, y: [] }], [1, new Map()]]) };
    const text = encodeWaypointConfig(odd as never);
    assert.equal(text, `{"version":1,"config":{"a":[null,null,1.5,null,"\u2028\\"",true,{}],"c":{"$map":[[1,{"$map":[]}],[2,null],[10,{"y":[],"z":1}]]}}}`);
    assert.equal(encodeWaypointConfig(odd as never), text);
  });

  it("is for older readers, too, unless they would pass over a check or a redirect", () => {
    const [origin, match] = [{ kind: "HTTPRoute", namespace: "shop", name: 'quoted "externalAuth":{ and "redirectTo":{', rule: 0, ruleName: undefined, match: 0, createdAt: 0 }, {}];
    const route = { origin, match, action: { kind: "redirect", redirect: { status: 302 } }, filters: {}, timeouts: {} };
    const version = (r: object) => /^\{"version":([0-9]+)/.exec(encodeWaypointConfig(config({ services: new Map([["shop/b", { producer: new Map([[80, { kind: "http", routes: [r], fallThrough: false }]]), consumers: new Map() } as never]]) })))?.[1];
    assert.deepEqual([version(route), version({ ...route, externalAuth: { name: "x" } }), version({ ...route, action: { kind: "forward", backends: [{ kind: "service", weight: 1, redirectTo: { status: 302 } }] } })], ["1", "2", "2"]);
  });

  it("is the same text for the same value in another order", () => {
    const reversed = config({ services: new Map([...config().services].reverse()) });
    assert.equal(encodeWaypointConfig(reversed), encodeWaypointConfig(config()));
  });

  for (const [text, why] of [
    ["{", /not JSON/], ["{}", /neither version nor config/], ["null", /neither/], [`{"version":3,"config":{}}`, /version 3/],
    [`{"version":2,"config":{}}`, /config.services is not a map/],
    [`{"version":1,"config":{}}`, /config.services is not a map/],
  ] as const)
    it(`refuses ${text}`, () => {
      const back = decodeWaypointConfig(text);
      assert.ok(!back.ok);
      assert.match(back.error, why);
    });
});
