import assert from "node:assert/strict";
import fc from "fast-check";
import { PEERS_LEARN_MS } from "./agent.ts";
import { AMBIENT, DRAIN_MS, Node, settle } from "./agent.fixture.ts";

const NONE = { "istio.io/dataplane-mode": "none" };

describe("the agent", () => {
  let node: Node;
  beforeEach(() => { node = new Node(); node.ztunnel(); });
  afterEach(async () => {
    await node.agent.close();
    assert.deepEqual(node.open, [], "every namespace was let go of");
  });
  const enrolled = async (uid = "a", ip = "10.0.0.1") => { node.pod(uid, { ip }); await node.agent.sync(uid); };
  const add = (uid = "a", ip = "10.0.0.1", inode = 7n, abandoned?: () => boolean) => {
    const pod = node.pods.get(uid) ?? { metadata: { uid, name: uid, namespace: "shop", labels: AMBIENT }, spec: { containers: [] } };
    return node.agent.enrolNew(pod, node.netns(inode), [ip], abandoned);
  };

  describe("joining", () => {
    it("a running pod: listeners, probes, redirection, and only then the word", async () => {
      await enrolled();
      assert.deepEqual(node.did, ["ztunnel", "probes", "rules", "report enabled Captured"]);
      assert.deepEqual(node.probes, ["10.0.0.1"]);
    });
    it("a starting pod: redirection before listeners", async () => {
      await add();
      assert.deepEqual(node.did, ["probes", "rules", "ztunnel", "report enabled Captured"]);
    });
    it("seeing it again changes nothing", async () => {
      await enrolled();
      node.did.length = 0;
      await node.agent.sync("a");
      assert.deepEqual(node.did, []);
    });
    it("a pod without an address is left to the plugin", async () => {
      node.pod("a");
      await node.agent.sync("a");
      assert.deepEqual(node.did, []);
      assert.equal(node.clock.waiting, 0);
    });
    it("what failed is tried again, from where it failed: probes before rules", async () => {
      node.failing = { probes: "no nft" };
      await enrolled();
      assert.deepEqual(node.did, ["ztunnel"]);
      node.failing = {};
      await node.clock.advance(50);
      assert.deepEqual(node.did, ["ztunnel", "ztunnel", "probes", "rules", "report enabled Captured"]);
    });
    it("a pod that cannot be enrolled says why after 2 s, once", async () => {
      node.failing = { ztunnel: "ztunnel is ill" };
      await enrolled();
      assert.equal(node.said("a"), "- -");
      await node.clock.advance(20_000);
      assert.equal(node.said("a"), "pending False/Pending");
      assert.deepEqual(node.events, ["a: cannot be enrolled yet: ztunnel is ill"]);
      node.failing = {};
      await node.clock.advance(10_000);
      assert.equal(node.said("a"), "enabled True/Captured");
    });
    it("one that was enrolled before this agent is redirected at once, and its word stays, ztunnel or not", async () => {
      node.failing = { ztunnel: "no ztunnel is connected" };
      node.pod("a", { ip: "10.0.0.1", annotations: { "ambient.istio.io/redirection": "enabled" } });
      await node.agent.sync("a");
      await node.clock.advance(10_000);
      assert.equal(node.states.get(1n), "redirected");
      assert.equal(node.said("a"), "enabled False/Pending");
      assert.deepEqual(node.agent.snapshot().map((p) => p.uid), ["a"]);
    });
    it("rules of an earlier agent that stand well are not written again, others are", async () => {
      for (const [uid, inode, state] of [["a", 1n, "redirected"], ["b", 2n, "none"]] as const) {
        node.states.set(inode, state);
        node.pod(uid, { ip: `10.0.0.${inode}`, inode, annotations: { "ambient.istio.io/redirection": "enabled" } });
        node.did.length = 0;
        await node.agent.sync(uid);
        assert.deepEqual(node.did.filter((d) => d === "rules" || d === "ztunnel"), state === "none" ? ["rules", "ztunnel"] : ["ztunnel"], uid);
        assert.equal(node.states.get(inode), "redirected");
      }
    });
    it("two pods that claim one address are both refused, with the reason", async () => {
      node.pod("b", { ip: "10.0.0.1" });
      await enrolled("a");
      await node.clock.advance(5_000);
      assert.match(node.events[0] ?? "", /pod shop\/b says that 10.0.0.1 is its own as well/);
      assert.deepEqual(node.agent.snapshot(), []);
    });
    it("a namespace that is another pod's is refused", async () => {
      await add("b", "10.0.0.2", 7n);
      node.pod("a", { ip: "10.0.0.1", inode: 7n });
      await node.agent.sync("a");
      assert.deepEqual(node.agent.snapshot().map((p) => p.uid), ["b"]);
    });
  });

  describe("CNI ADD", () => {
    for (const [part, words] of [["ztunnel", "no ztunnel is connected"], ["rules", "nft failed"], ["probes", "no nft"]] as const)
      it(`fails when ${part} does, says so on the pod, and leaves nothing behind`, async () => {
        node.failing = { [part]: words };
        await assert.rejects(add(), new RegExp(words));
        assert.deepEqual(node.agent.snapshot(), []);
        assert.deepEqual(node.open, []);
        assert.deepEqual(node.events, [`a: cannot start in the mesh: ${words}`]);
        assert.equal(node.listening.size, 0);
        assert.equal(node.clock.waiting, 0);
        node.failing = {};
        await add("a", "10.0.0.1", 8n);
        assert.equal(node.listening.get("a"), 8n);
      });
    it("does not fail because the API server does not answer: the word follows", async () => {
      node.failing = { api: "unreachable" };
      await add();
      assert.equal(node.states.get(7n), "redirected");
      node.failing = {};
      await node.clock.advance(100);
      assert.ok(node.did.includes("report enabled Captured"));
    });
    it("a pod that the watch has not shown yet is not taken for one that is gone", async () => {
      await add();
      node.agent.ztunnels(1);
      await node.agent.sync("a");
      assert.deepEqual(node.agent.snapshot().map((p) => p.uid), ["a"]);
      node.pod("a", { ip: "10.0.0.1" });
      await node.delete("a");
      assert.deepEqual(node.agent.snapshot(), []);
    });
    it("a pod that was deleted before the watch showed it is found out by verifying", async () => {
      await add();
      await node.agent.verify();
      assert.deepEqual(node.agent.snapshot(), []);
    });
    it("the same pod in a new sandbox: the old namespace is let go of, ztunnel hears of the new one", async () => {
      await add("a", "10.0.0.1", 7n);
      await add("a", "10.0.0.1", 8n);
      assert.equal(node.listening.get("a"), 8n);
      assert.deepEqual(node.open.map((h) => h.inode), [8n]);
    });
    it("a plugin that stopped waiting gets nothing", async () => {
      await assert.rejects(add("a", "10.0.0.1", 7n, () => true), /stopped waiting/);
      assert.deepEqual(node.agent.snapshot(), []);
    });
    it("together with the watch for the same pod: one of them does it", async () => {
      node.pod("a", { ip: "10.0.0.1", inode: 7n });
      await Promise.all([node.agent.sync("a"), add(), node.agent.sync("a")]);
      assert.equal(node.agent.snapshot().length, 1);
      assert.equal(node.open.length, 1);
    });
  });

  describe("leaving", () => {
    it("the word, the redirection, time for peers, ztunnel, the rules, the condition", async () => {
      await enrolled();
      node.did.length = 0;
      await node.label("a", NONE);
      assert.deepEqual(node.did, ["report null Leaving", "drain"]);
      await node.clock.advance(PEERS_LEARN_MS - 300);
      assert.ok(node.listening.has("a"), "peers may not know yet");
      await node.clock.advance(600);
      assert.deepEqual(node.did.slice(2), ["no ztunnel", "no rules", "report = null", "probes"]);
      assert.equal(node.said("a"), "- -");
      assert.deepEqual(node.probes, []);
      assert.equal(node.clock.waiting, 0);
    });
    it("captured connections are waited for, but not for ever", async () => {
      await enrolled();
      node.captured = 1;
      await node.label("a", NONE);
      await node.clock.advance(DRAIN_MS - 300);
      assert.ok(node.listening.has("a"));
      await node.clock.advance(600);
      assert.ok(!node.listening.has("a"));
      assert.equal(node.states.get(1n), "drained", "their last packets must be translated");
      await node.clock.advance(1_200);
      assert.equal(node.states.get(1n), "none");
    });
    it("and coming back meanwhile: nothing ended", async () => {
      await enrolled();
      await node.label("a", NONE);
      await node.clock.advance(500);
      node.did.length = 0;
      await node.label("a", AMBIENT);
      await node.clock.advance(60_000);
      assert.deepEqual(node.did, ["ztunnel", "probes", "rules", "report enabled Captured"]);
      assert.equal(node.said("a"), "enabled True/Captured");
    });
    it("before it was in: at once, and nothing is tried again", async () => {
      node.failing = { ztunnel: "no ztunnel is connected" };
      await enrolled();
      await node.label("a", NONE);
      assert.deepEqual(node.agent.snapshot(), []);
      assert.equal(node.clock.waiting, 0);
    });
    it("deleted while ztunnel thinks: ends released", async () => {
      node.pod("a", { ip: "10.0.0.1" });
      const joining = node.agent.sync("a");
      await Promise.all([joining, node.delete("a")]);
      assert.equal(node.listening.size, 0);
      assert.deepEqual(node.open, []);
    });
    it("deleted while leaving: at once", async () => {
      await enrolled();
      await node.label("a", NONE);
      await node.delete("a");
      assert.equal(node.listening.size, 0);
      await node.clock.advance(60_000);
      assert.equal(node.clock.waiting, 0);
    });
    it("what an earlier agent enrolled, or left half taken out, is taken out", async () => {
      for (const [uid, pod] of [["a", { annotations: { "ambient.istio.io/redirection": "enabled" } }], ["b", {}]] as const) {
        node.pod(uid, { ip: `10.0.0.${uid}`, labels: {}, ...pod });
        if (uid === "b") Object.assign(node.pods.get("b")?.status ?? {}, { conditions: [{ type: "MeshEnrolled", status: "False", reason: "Leaving" }] });
        node.did.length = 0;
        await node.agent.sync(uid);
        await node.clock.advance(10_000);
        assert.ok(node.did.includes("no rules"), uid);
      }
    });
    it("a pod that never was in the mesh is not looked at", async () => {
      node.pod("a", { ip: "10.0.0.1", labels: {} });
      await node.agent.sync("a");
      assert.deepEqual(node.did, []);
      assert.equal(node.handles.length, 0);
    });
  });

  describe("the mesh leaves the node", () => {
    it("each pod: the word, the redirection, ztunnel, the rules", async () => {
      node.ztunnel();
      node.pod("a", { ip: "10.0.0.1" });
      await node.agent.sync("a");
      node.did.length = 0;
      const done = node.agent.leaveAll();
      await settle();
      await node.clock.advance(1_000);
      await done;
      assert.deepEqual(node.did, ["report null null", "drain", "no ztunnel", "no rules"]);
      assert.deepEqual([node.states.get(1n), node.said("a")], ["none", "- -"]);
    });
    it("and nothing that was under way puts it back: a look at what stands, a word of ztunnel", async () => {
      node.pod("a", { ip: "10.0.0.1" });
      await node.agent.sync("a");
      const [entry] = node.agent.snapshot();
      const { promise, resolve } = Promise.withResolvers<void>();
      node.looking = promise;
      const looking = node.agent.verify();
      const done = node.agent.leaveAll();
      await settle();
      await node.clock.advance(1_000);
      await done;
      node.drifted = "pod";
      resolve();
      await looking;
      if (entry !== undefined) node.agent.taken(entry, undefined);
      await settle();
      assert.deepEqual([node.states.get(1n), node.said("a")], ["none", "- -"]);
    });
    it("also when nobody listens to us any more", async () => {
      node.ztunnel();
      for (const uid of ["a", "b"]) node.pod(uid, { ip: uid === "a" ? "10.0.0.1" : "10.0.0.2" });
      for (const uid of ["a", "b"]) await node.agent.sync(uid);
      node.failing = { api: "forbidden" };
      const done = node.agent.leaveAll();
      await settle();
      await node.clock.advance(5_000);
      await done;
      assert.deepEqual([...node.states.values()], ["none", "none"]);
    });
  });

  describe("what is, not what was", () => {
    it("rules that somebody changed are put back and counted", async () => {
      await enrolled();
      for (const where of ["pod", "node"] as const) {
        node.drifted = where;
        await node.agent.verify();
        assert.match(node.metrics.expose(), new RegExp(`ambit_cni_rules_drift_total{where="${where}"} 1`));
      }
      assert.deepEqual(node.did.slice(4), ["rules"]);
      await node.agent.verify();
      assert.deepEqual(node.did.slice(4), ["rules"]);
    });
    it("a word that somebody took away is given again", async () => {
      await enrolled();
      node.pod("a", { ip: "10.0.0.1" });
      assert.equal(node.said("a"), "- -");
      await node.agent.verify();
      assert.equal(node.said("a"), "enabled True/Captured");
      node.did.length = 0;
      await node.agent.verify();
      assert.deepEqual(node.did, []);
    });
    it("no ztunnel for 10 s: the pod says so, keeps its word, and says when one is back", async () => {
      await enrolled();
      node.agent.ztunnels(0);
      await node.clock.advance(9_000);
      assert.equal(node.said("a"), "enabled True/Captured");
      await node.clock.advance(2_000);
      assert.equal(node.said("a"), "enabled False/NoZtunnel");
      const [pod] = node.agent.snapshot();
      assert.ok(pod !== undefined);
      node.agent.taken(pod, "cannot bind");
      await settle();
      assert.equal(node.said("a"), "enabled False/NoZtunnel");
      node.agent.taken(pod, undefined);
      node.agent.ztunnels(1);
      await settle();
      assert.equal(node.said("a"), "enabled True/Captured");
    });
  });

  it("whatever happens in whatever order: the end is what the labels say, and nothing leaks", async function () {
    this.timeout(30_000);
    const uids = ["a", "b", "c"] as const;
    const step = fc.record({
      uid: fc.constantFrom(...uids), wait: fc.boolean(),
      act: fc.constantFrom("create", "start", "label", "unlabel", "delete", "time", "ztunnel-fails", "api-fails", "rules-fail", "ztunnels"),
    });
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40, size: "max" }), async (steps) => {
      const n = new Node();
      n.ztunnel();
      let inode = 100n;
      for (const { uid, act, wait } of steps) {
        const ip = `10.0.0.${uids.indexOf(uid) + 1}`;
        let done: Promise<unknown> = Promise.resolve();
        switch (act) {
          case "create": if (!n.pods.has(uid)) n.pod(uid, { ip, inode: ++inode }); done = n.agent.sync(uid); break;
          case "start": {
            const pod = n.pods.get(uid);
            if (pod === undefined || pod.metadata.labels === NONE) break;
            n.found.set(ip, ++inode);
            done = n.agent.enrolNew(pod, n.netns(inode), [ip]).catch(() => undefined);
            break;
          }
          case "label": done = n.label(uid, AMBIENT); break;
          case "unlabel": done = n.label(uid, NONE); break;
          case "delete": n.found.delete(ip); done = n.delete(uid); break;
          case "time": await n.clock.advance(700); break;
          case "ztunnels": n.agent.ztunnels(1); break;
          case "ztunnel-fails": n.failing = { ztunnel: "x" }; break;
          case "api-fails": n.failing = { api: "x" }; break;
          case "rules-fail": n.failing = { rules: "x" }; break;
        }
        if (wait) await done;
      }
      n.failing = {};
      for (let i = 0; i < 3; i++) {
        await Promise.all(uids.map((uid) => n.agent.sync(uid)));
        await n.agent.verify();
        await n.clock.advance(60_000);
      }
      const wanted = [...n.pods.values()].filter((p) => p.metadata.labels === AMBIENT).map((p) => p.metadata.uid).sort();
      assert.deepEqual(n.agent.snapshot().map((p) => p.uid).sort(), wanted, "entries");
      assert.deepEqual([...n.listening.keys()].sort(), wanted, "listeners");
      assert.equal(n.open.length, wanted.length, "handles");
      assert.equal(n.clock.waiting, 0, "timers");
      assert.deepEqual([...n.probes].sort(), wanted.map((uid) => `10.0.0.${uids.indexOf(uid as "a") + 1}`), "probes");
      for (const p of n.agent.snapshot()) assert.equal(n.states.get(p.netns.inode), "redirected");
      for (const uid of wanted) assert.equal(n.said(uid ?? ""), "enabled True/Captured");
      await n.agent.close();
    }), { seed: 4, numRuns: 2_000 });
  });
});
