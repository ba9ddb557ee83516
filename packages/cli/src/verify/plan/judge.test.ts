import assert from "node:assert/strict";
import { judgePair, pairsOf, type Endpoint, type SeenTunnel } from "./judge.ts";

const A = "spiffe://cluster.local/ns/t/sa/a";
const B = "spiffe://cluster.local/ns/t/sa/b";
const tls = (local: string, peer: string, more: object = {}): SeenTunnel["mutualTls"] => ({ protocol: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256", local, peer, ...more });
const end = (name: string, ip: string, more: Partial<Endpoint> = {}): Endpoint => ({ name: `t/${name}`, ip, namespace: "t", serviceAccount: name, tunnels: [], connections: [], ...more });
const OUT: SeenTunnel = { direction: "outbound", local: "10.0.0.1:40000", peer: "10.0.0.2:15008", mutualTls: tls(A, B) };
const IN: SeenTunnel = { direction: "inbound", local: "10.0.0.2:15008", peer: "10.0.0.1:40000", mutualTls: tls(B, A) };
const plain = (direction: "inbound" | "outbound") => ({ direction, src: "10.0.0.1:50000", actualDst: "10.0.0.2:80", protocol: "TCP" });

describe("what two ztunnels prove of a pair", () => {
  for (const [name, a, b, expected] of [
    ["both ends tell the same", { tunnels: [OUT] }, { tunnels: [IN] }, /^proven$/],
    ["nothing was seen", {}, {}, /^unknown no connection from t\/a to t\/b/],
    ["a tunnel that only one end tells of", { tunnels: [OUT] }, {}, /^unknown .*does not tell of its other end/],
    ["one to another port", { tunnels: [OUT] }, { tunnels: [{ ...IN, peer: "10.0.0.1:40001" }] }, /^unknown/],
    ["a handshake under way", { tunnels: [{ ...OUT, mutualTls: undefined }] }, { tunnels: [IN] }, /^unknown/],
    ["a tunnel to a waypoint", { tunnels: [{ ...OUT, peer: "10.0.0.9:15008" }] }, {}, /^unknown .*10\.0\.0\.9:15008 \(a waypoint/],
    ["a client who is somebody else", { tunnels: [OUT] }, { tunnels: [{ ...IN, mutualTls: tls(B, "spiffe://cluster.local/ns/t/sa/x") }] }, /^disproven .*not the service account of t\/a/],
    ["a server who is somebody else", { tunnels: [{ ...OUT, mutualTls: tls(A, "spiffe://cluster.local/ns/u/sa/b") }] }, { tunnels: [IN] }, /^disproven .*not the service account of t\/b/],
    ["ends of two trust domains' words", { tunnels: [{ ...OUT, mutualTls: tls("spiffe://other/ns/t/sa/a", B) }] }, { tunnels: [IN] }, /^disproven .*do not tell the same/],
    ["an older protocol", { tunnels: [{ ...OUT, mutualTls: tls(A, B, { protocol: "TLSv1.2" }) }] }, { tunnels: [IN] }, /^disproven .*TLSv1\.2/],
    ["two ciphers", { tunnels: [{ ...OUT, mutualTls: tls(A, B, { cipher: "NULL" }) }] }, { tunnels: [IN] }, /^disproven .*NULL/],
    ["a connection in clear beside the tunnel", { tunnels: [OUT], connections: [plain("outbound")] }, { tunnels: [IN] }, /^disproven .*leaves t\/a without a tunnel/],
    ["one that only the server's ztunnel saw", { tunnels: [OUT] }, { tunnels: [IN], connections: [plain("inbound")] }, /^disproven .*reaches t\/b without a tunnel/],
  ] as const) it(name, () => {
    const said = judgePair(end("a", "10.0.0.1", a), end("b", "10.0.0.2", b));
    assert.match(`${said.verdict}${"because" in said ? ` ${said.because}` : ""}`, expected);
  });
  it("names the wire and both identities", () => assert.deepEqual(judgePair(end("a", "10.0.0.1", { tunnels: [OUT] }), end("b", "10.0.0.2", { tunnels: [IN] })),
    { verdict: "proven", wires: [{ from: "10.0.0.1:40000", to: "10.0.0.2:15008", protocol: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256", client: A, server: B }] }));
  it("finds the pairs, by tunnel and by connection", () => {
    const [a, b, c] = [end("a", "10.0.0.1", { tunnels: [OUT], connections: [{ direction: "outbound", src: "10.0.0.1:1", actualDst: "10.0.0.3:80", protocol: "TCP" }] }), end("b", "10.0.0.2"), end("c", "10.0.0.3")];
    assert.deepEqual(pairsOf([c, b, a]).map(([x, y]) => `${x.name} ${y.name}`), ["t/a t/b", "t/a t/c"]);
  });
  it("knows addresses of IPv6", () => {
    const [a, b] = [end("a", "fd00::1", { tunnels: [{ ...OUT, local: "[fd00::1]:4", peer: "[fd00::2]:15008" }] }), end("b", "fd00::2", { tunnels: [{ ...IN, peer: "[fd00::1]:4" }] })];
    assert.equal(judgePair(a, b).verdict, "proven");
    assert.equal(pairsOf([a, b]).length, 1);
  });
});
