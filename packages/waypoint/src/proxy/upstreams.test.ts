import assert from "node:assert/strict";
import { DEFAULT_TRAFFIC, MeshError, type Ip, type UpstreamTls } from "@ambit/core";
import { systemClock } from "@ambit/runtime";
import { createUpstreams } from "./upstreams.ts";

const identity = { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "waypoint" };

describe("the way out", () => {
  it("is closed where TLS was asked for and nobody could be trusted: nothing is dialled, nothing goes without TLS", async () => {
    const upstreams = createUpstreams({ identity, instanceIp: "127.0.0.1", contexts: { material: () => Promise.reject(new Error("nobody may ask")), context: () => Promise.reject(new Error("nobody may ask")) } as never, clock: systemClock });
    const tls: UpstreamTls = { mode: "simple", sni: "a.example.com", subjectAltNames: ["a.example.com"], rootsPem: "none", insecureSkipVerify: false, unusable: "BackendTLSPolicy shop/a: no authority" };
    // Port 9 of loopback: whoever dials it meets another error.
    const opened = upstreams.open({ kind: "direct", at: { ip: "127.0.0.1" as Ip, port: 9 } }, { source: undefined, sourceWorkload: undefined, service: undefined, traceparent: undefined }, { ...DEFAULT_TRAFFIC, tls, alpn: [] });
    await assert.rejects(opened, (e) => e instanceof MeshError && e.code === "tls-handshake" && e.message === "BackendTLSPolicy shop/a: no authority");
    await upstreams.drain(0);
  });
});
