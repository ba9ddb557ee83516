// The redirection in real network namespaces: a "pod" and a "peer" joined by a veth pair; the pod's ztunnel is a listener that
// says its port. Needs root.
import assert from "node:assert/strict";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { hostKernel, type Netns } from "@ambit/linux";
import { podRedirection as redirectionBy } from "./apply.ts";
import type { News, Order } from "./peer.fixture.ts";
import type { PodRules } from "./rules/inpod.ts";

const RULES: PodRules = { ipv6: true, dnsCapture: true, bypassInbound: false, virtualInterfaces: [], probeIpv4: "169.254.7.127", probeIpv6: "fd16:9254:7127:1337:ffff:ffff:ffff:ffff" };
const POD = `cni-t-pod-${process.pid}`;
const PEER = `cni-t-peer-${process.pid}`;
const LIMIT_MS = 5_000;
const sh = (command: string): string => execFileSync("sh", ["-ec", command], { encoding: "utf8" });
const inside = (ns: string, command: string): string => sh(`ip netns exec ${ns} sh -ec "${command}"`);

/** One process in a namespace. */
class Inhabitant {
  readonly #child: ChildProcess;
  readonly #news: News[] = [];
  #wake: () => void = () => undefined;

  constructor(ns: string) {
    this.#child = spawn("ip", ["netns", "exec", ns, process.execPath, join(import.meta.dirname, "peer.fixture.ts")], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#child.on("message", (n: News) => { this.#news.push(n); this.#wake(); });
  }
  tell(order: Order): void { this.#child.send(order); }
  /** The first piece of news that fits, taken. */
  async hear(what: string, fits: (n: News) => boolean): Promise<News> {
    const deadline = Date.now() + LIMIT_MS;
    for (;;) {
      const at = this.#news.findIndex(fits);
      if (at >= 0) return this.#news.splice(at, 1)[0]!;
      if (Date.now() > deadline) throw new Error(`never heard: ${what}; heard ${JSON.stringify(this.#news)}`);
      await new Promise<void>((resolve) => { const timer = setTimeout(resolve, 100); this.#wake = () => { clearTimeout(timer); resolve(); }; });
    }
  }
  async listen(...ports: number[]): Promise<void> {
    for (const port of ports) {
      this.tell({ do: "listen", port, host: "::" });
      await this.hear(`listen ${port}`, (n) => n.is === "done" && n.of === `listen ${port}`);
    }
  }
  /** Who answered (its port), or the error; and the local port. */
  async connect(id: string, host: string, port: number, localPort?: number): Promise<{ by: string; localPort: number }> {
    this.tell({ do: "connect", id, host, port, ...(localPort === undefined ? {} : { localPort }) });
    const n = await this.hear(`answer to ${id}`, (x) => (x.is === "said" || x.is === "closed") && x.id === id);
    return n.is === "said" ? { by: n.text, localPort: n.localPort } : { by: n.is === "closed" ? n.error : "", localPort: localPort ?? 0 };
  }
  /** Serves datagrams at this port. */
  async answer(port: number, host: string): Promise<void> {
    this.tell({ do: "answer", port, host });
    await this.hear(`answer ${port}`, (n) => n.is === "done" && n.of === `answer ${port}`);
  }
  /** Who answered a datagram. */
  async ask(id: string, host: string, port: number, text: string): Promise<string> {
    this.tell({ do: "ask", id, host, port, text });
    return this.told(id, text);
  }
  /** Whose answer to this text came. */
  async told(id: string, text: string): Promise<string> {
    const n = await this.hear(`answer to ${text}`, (x) => (x.is === "said" && x.id === id && x.text.endsWith(`;${text}`)) || (x.is === "closed" && x.id === id));
    return n.is === "said" ? n.text.split(";")[0] ?? "" : n.is === "closed" ? n.error : "";
  }
  async echoes(id: string, text: string): Promise<void> {
    this.tell({ do: "send", id, text });
    await this.hear(`echo of ${text}`, (n) => n.is === "said" && n.id === id && n.text === text);
  }
  closed(id: string): Promise<News> { return this.hear(`end of ${id}`, (n) => n.is === "closed" && n.id === id); }
  async stop(): Promise<void> {
    this.#child.disconnect();
    await once(this.#child, "exit");
  }
}

describe("redirection in real namespaces", function () {
  this.timeout(60_000);
  before(function () { if (process.getuid?.() !== 0) this.skip(); }); // network namespaces need root

  /** Where a rule, a chain's jump and a whole part of the redirection are, by who wrote them. */
  const DAMAGE = {
    nft: [["a table", "nft delete table inet istio-ambient-nat"], ["a rule of a chain", "nft flush chain inet istio-ambient-mangle istio-output"]],
    iptables: [["a jump", "iptables-nft -t nat -D OUTPUT -j ISTIO_OUTPUT; ip6tables-nft -t nat -D OUTPUT -j ISTIO_OUTPUT"], ["a rule of a chain", "iptables-nft -t mangle -F ISTIO_OUTPUT"]],
  } as const;

  for (const by of ["nft", "iptables"] as const) for (const [name, podIp, peerIp] of [["IPv4", "10.99.0.2", "10.99.0.1"], ["IPv6", "fd99::2", "fd99::1"]] as const) describe(`${by}, ${name}`, () => {
    const podRedirection = redirectionBy(by === "nft");
    let netns: Netns;
    let pod: Inhabitant;
    let peer: Inhabitant;
    beforeEach(async () => {
      sh(`ip netns add ${POD}; ip netns add ${PEER}; ip -n ${POD} link add eth0 type veth peer name eth0 netns ${PEER}
        for n in ${POD} ${PEER}; do ip -n $n link set lo up; ip -n $n link set eth0 up; done
        ip -n ${POD} addr add 10.99.0.2/24 dev eth0; ip -n ${PEER} addr add 10.99.0.1/24 dev eth0
        ip -n ${POD} addr add fd99::2/64 dev eth0 nodad; ip -n ${PEER} addr add fd99::1/64 dev eth0 nodad`);
      netns = hostKernel.openNetns(`/var/run/netns/${POD}`);
      pod = new Inhabitant(POD);
      peer = new Inhabitant(PEER);
      await pod.listen(15001, 15006, 8080);
      await peer.listen(9000);
    });
    afterEach(async () => {
      await Promise.all([pod.stop(), peer.stop()]);
      netns[Symbol.dispose]();
      sh(`ip netns del ${POD}; ip netns del ${PEER}`);
    });
    /** iptables leaves the tables that everybody shares, without a rule. The kernel gives the link its own address (fe80::) when it likes. */
    const state = () => `${by === "nft" ? inside(POD, "nft list ruleset") : inside(POD, "iptables-nft-save; ip6tables-nft-save; nft list tables inet").split("\n").filter((l) => /^-A|ISTIO|^table/.test(l)).join()
      }${inside(POD, "ip rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all | grep -v fe80; cat /proc/sys/net/netfilter/nf_conntrack_tcp_loose /proc/sys/net/ipv4/tcp_migrate_req")}`;

    it("both directions are captured, loopback and the pod's own address are not", async () => {
      await podRedirection.apply(netns, RULES);
      assert.equal((await pod.connect("out", peerIp, 9000)).by, "15001;");
      assert.equal((await peer.connect("in", podIp, 8080)).by, "15006;");
      assert.equal((await pod.connect("self", podIp, 8080)).by, "8080;");
      assert.equal((await pod.connect("lo", name === "IPv4" ? "127.0.0.1" : "::1", 8080)).by, "8080;");
    });

    it("with inbound bypassed only what leaves is captured", async () => {
      await podRedirection.apply(netns, { ...RULES, bypassInbound: true });
      assert.equal((await pod.connect("out", peerIp, 9000)).by, "15001;");
      assert.equal((await peer.connect("in", podIp, 8080)).by, "8080;");
    });

    it("what comes in by a rerouted interface leaves as the pod's own", async () => {
      await podRedirection.apply(netns, { ...RULES, virtualInterfaces: ["eth0"] });
      assert.equal((await peer.connect("in", podIp, 8080)).by, "15001;");
    });

    it("applied twice it stands the same; taken away nothing is left", async () => {
      const before = state();
      const standing = await podRedirection.apply(netns, RULES);
      assert.equal(await podRedirection.apply(netns, RULES), standing);
      assert.equal(await podRedirection.inspect(netns, RULES), standing);
      assert.equal(await podRedirection.standing(netns, RULES), standing);
      assert.equal(await podRedirection.standing(netns, { ...RULES, dnsCapture: false }), undefined);
      await podRedirection.drain(netns, RULES);
      await podRedirection.remove(netns, RULES);
      assert.equal(state(), before);
      await podRedirection.remove(netns, RULES);
      assert.equal(state(), before);
    });

    for (const [what, damage] of [
      ...DAMAGE[by], ["the routing rule", `ip ${name === "IPv4" ? "-4" : "-6"} rule del pref 32764`], ["the route", `ip ${name === "IPv4" ? "-4" : "-6"} route flush table 100`],
      ["the word to conntrack", "echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_loose"], ["the word about waiting connections", "echo 0 > /proc/sys/net/ipv4/tcp_migrate_req"],
    ] as const) it(`${what} that somebody deletes is missed, and comes back`, async () => {
      const standing = await podRedirection.apply(netns, RULES);
      inside(POD, damage);
      assert.notEqual(await podRedirection.inspect(netns, RULES).catch(() => "missing"), standing);
      assert.equal(await podRedirection.standing(netns, RULES), undefined);
      assert.equal(await podRedirection.apply(netns, RULES), standing);
      assert.equal((await pod.connect("out", peerIp, 9000)).by, "15001;");
    });

    it("open connections of both directions live through joining, repair and leaving", async () => {
      await pod.connect("out", peerIp, 9000);
      await peer.connect("in", podIp, 8080);
      const go = async (text: string) => { await pod.echoes("out", `${text}-out`); await peer.echoes("in", `${text}-in`); };
      await podRedirection.apply(netns, RULES);
      await go("joined");
      await podRedirection.apply(netns, RULES);
      await go("repaired");
      await podRedirection.drain(netns, RULES);
      await go("leaving");
      await podRedirection.remove(netns, RULES);
      await go("left");
    });

    it("a captured connection lives through repair, and through leaving until the end", async () => {
      await podRedirection.apply(netns, RULES);
      assert.equal((await pod.connect("out", peerIp, 9000)).by, "15001;");
      assert.equal((await peer.connect("in", podIp, 8080)).by, "15006;");
      assert.equal(podRedirection.captured(netns), 2);
      const go = async (text: string) => { await pod.echoes("out", `${text}-out`); await peer.echoes("in", `${text}-in`); };
      await podRedirection.apply(netns, RULES);
      await go("repaired");
      await podRedirection.drain(netns, RULES);
      await go("leaving");
      assert.equal((await pod.connect("new", peerIp, 9000)).by, "9000;");
      assert.equal((await peer.connect("new", podIp, 8080)).by, "8080;");
      await podRedirection.apply(netns, RULES);
      await go("back");
      await podRedirection.drain(netns, RULES);
      pod.tell({ do: "close", id: "out" });
      peer.tell({ do: "close", id: "in" });
      await Promise.all([pod.closed("out"), peer.closed("in")]);
      assert.equal(podRedirection.captured(netns), 0);
    });

    it("a resolver that asks while the pod joins and leaves is answered every time, from one socket", async () => {
      await pod.answer(15053, name === "IPv4" ? "127.0.0.1" : "::1");
      await peer.answer(53, peerIp);
      assert.equal(await pod.ask("r", peerIp, 53, "before"), "53");
      pod.tell({ do: "ask", id: "r", host: peerIp, port: 53, text: "wait" });
      await podRedirection.apply(netns, RULES);
      // The pair of questions that C libraries send: one is under way when capture begins, the other follows on the same port.
      assert.equal(await pod.ask("r", peerIp, 53, "joined"), "15053");
      assert.equal(await peer.ask("x", peerIp, 53, "go"), "53");
      assert.equal(await pod.told("r", "wait"), "53");
      assert.equal(await pod.ask("r", peerIp, 53, "again"), "15053");
      await podRedirection.apply(netns, RULES);
      assert.equal(await pod.ask("r", peerIp, 53, "repaired"), "15053");
      pod.tell({ do: "ask", id: "r", host: peerIp, port: 53, text: "wait" });
      await podRedirection.drain(netns, RULES);
      assert.equal(await pod.ask("r", peerIp, 53, "leaving"), "53");
      await podRedirection.remove(netns, RULES);
      assert.equal(await pod.ask("r", peerIp, 53, "left"), "53");
    });

    /** A new connection is captured whatever its ports were used for; none is refused, none goes past ztunnel. */
    describe("source ports of old connections, used again on purpose", () => {
      const old = async () => [await pod.connect("o1", peerIp, 9000), await peer.connect("i1", podIp, 8080)] as const;
      const hangUp = async () => {
        peer.tell({ do: "hang-up", port: 9000 });
        pod.tell({ do: "hang-up", port: 8080 });
        await Promise.all([pod.closed("o1"), peer.closed("i1")]);
      };
      const again = async (out: number, into: number) => {
        const o = await pod.connect("o2", peerIp, 9000, out);
        const i = await peer.connect("i2", podIp, 8080, into);
        return [o.by, i.by];
      };

      it("ended before joining: captured", async () => {
        const [o, i] = await old();
        await hangUp();
        await podRedirection.apply(netns, RULES);
        assert.deepEqual(await again(o.localPort, i.localPort), ["15001;", "15006;"]);
      });
      it("ended after joining: captured", async () => {
        const [o, i] = await old();
        await podRedirection.apply(netns, RULES);
        await pod.echoes("o1", "x");
        await peer.echoes("i1", "y");
        await hangUp();
        assert.deepEqual(await again(o.localPort, i.localPort), ["15001;", "15006;"]);
      });
      it("left and come back: captured", async () => {
        await podRedirection.apply(netns, RULES);
        await podRedirection.drain(netns, RULES);
        const [o, i] = await old();
        await podRedirection.remove(netns, RULES);
        await pod.echoes("o1", "x");
        await peer.echoes("i1", "y");
        await podRedirection.apply(netns, RULES);
        await hangUp();
        assert.deepEqual(await again(o.localPort, i.localPort), ["15001;", "15006;"]);
      });
      it("captured before leaving: goes through or ends, never to a ztunnel that is not there", async () => {
        await podRedirection.apply(netns, RULES);
        const o = await pod.connect("o1", peerIp, 9000);
        pod.tell({ do: "hang-up", port: 15001 });
        await pod.closed("o1");
        await podRedirection.drain(netns, RULES);
        await podRedirection.remove(netns, RULES);
        assert.equal((await pod.connect("o2", peerIp, 9000, o.localPort)).by, "9000;");
      });
    });
  });

  for (const by of ["nft", "iptables"] as const) it(`${by}: a pod whose loopback has no IPv6 gets the IPv4 part`, async () => {
    const podRedirection = redirectionBy(by === "nft");
    sh(`ip netns add ${POD}; ip -n ${POD} link set lo up`);
    try {
      inside(POD, "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6");
      using netns = hostKernel.openNetns(`/var/run/netns/${POD}`);
      const standing = await podRedirection.apply(netns, RULES);
      assert.match(standing, /local default dev lo/);
      await podRedirection.remove(netns, RULES);
    } finally {
      sh(`ip netns del ${POD}`);
    }
  });

  for (const [from, to] of [["nft", "iptables"], ["iptables", "nft"]] as const) it(`from ${from} to ${to}: the new one stands before the old one goes`, async () => {
    sh(`ip netns add ${POD}; ip -n ${POD} link set lo up`);
    try {
      using netns = hostKernel.openNetns(`/var/run/netns/${POD}`);
      const [before, after] = [redirectionBy(from === "nft"), redirectionBy(to === "nft")];
      await before.apply(netns, RULES);
      assert.equal(await after.standing(netns, RULES), undefined);
      const standing = await after.apply(netns, RULES);
      await after.forgetOther(netns);
      await assert.rejects(before.inspect(netns, RULES));
      assert.equal(await after.inspect(netns, RULES), standing);
      await after.remove(netns, RULES);
      assert.doesNotMatch(inside(POD, "nft list ruleset"), /istio|redirect/i);
    } finally {
      sh(`ip netns del ${POD}`);
    }
  });

  it("rules of others in the same tables stay", async () => {
    sh(`ip netns add ${POD}; ip -n ${POD} link set lo up`);
    try {
      inside(POD, "iptables-nft -t nat -N THEIRS; iptables-nft -t nat -A OUTPUT -d 192.0.2.1 -j THEIRS; iptables-nft -A INPUT -s 192.0.2.2 -j DROP");
      const theirs = () => inside(POD, "iptables-nft-save").split("\n").filter((l) => /^-A|^:[A-Z]+ -/.test(l) && !l.includes("ISTIO_")).sort();
      const before = theirs();
      using netns = hostKernel.openNetns(`/var/run/netns/${POD}`);
      const iptables = redirectionBy(false);
      await iptables.apply(netns, RULES);
      assert.deepEqual(theirs(), before);
      await iptables.drain(netns, RULES);
      await iptables.remove(netns, RULES);
      assert.deepEqual(inside(POD, "iptables-nft-save").split("\n").filter((l) => /^-A|^:[A-Z]+ -/.test(l)).sort(), before);
    } finally {
      sh(`ip netns del ${POD}`);
    }
  });
});
