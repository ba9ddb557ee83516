import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger, systemClock } from "@ambit/runtime";
import { DEFAULT_SELECTORS } from "../plan/selectors.ts";
import { install, type Installation } from "./install.ts";

const PRIMARY = { cniVersion: "0.3.1", name: "net", plugins: [{ type: "bridge" }] };

describe("the plugin on the node", () => {
  let dir: string;
  let done: Installation | undefined;
  let states: boolean[];
  let woken: () => void;
  let pluginToken: string | undefined;
  const path = (...p: string[]) => join(dir, ...p);
  const put = (name: string, value: unknown) => writeFileSync(path("net.d", name), typeof value === "string" ? value : JSON.stringify(value));
  const types = (name: string) => (JSON.parse(readFileSync(path("net.d", name), "utf8")) as { plugins: { type: string }[] }).plugins.map((p) => p.type);
  const start = (more: { chained?: boolean; confName?: string; owned?: boolean; ownedName?: string } = {}) => {
    done = install({ netDir: path("net.d"), binDir: path("bin"), runDir: path("run"), confName: "", chained: true, owned: false, ownedName: "02-istio-cni.conflist", selectors: DEFAULT_SELECTORS, excludeNamespaces: ["kube-system"], podNamespace: "istio-system", kubeHost: "fd00::1", kubePort: "443", ...more },
      systemClock, createLogger("test", { write: () => undefined }), (s) => { states.push(s); woken(); }, () => pluginToken, path("sa"));
    return done;
  };
  const until = async (test: () => boolean) => { while (!test()) await new Promise<void>((resolve) => { woken = resolve; }); };
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "cni-install-"));
    for (const d of ["net.d", "bin", "run", "sa"]) mkdirSync(path(d));
    writeFileSync(path("sa", "ca.crt"), "CA");
    writeFileSync(path("sa", "token"), "T1\n");
    states = [];
    pluginToken = undefined;
    woken = () => undefined;
    done = undefined;
  });
  afterEach(() => { done?.close(); rmSync(dir, { recursive: true }); });

  it("is put last into the first configuration, with launcher and kubeconfig that only root can read", () => {
    put("10-a.conflist", PRIMARY);
    put("20-b.conflist", PRIMARY);
    assert.ok(start().installed);
    assert.deepEqual(types("10-a.conflist"), ["bridge", "istio-cni"]);
    assert.deepEqual(types("20-b.conflist"), ["bridge"]);
    assert.equal(statSync(path("bin", "istio-cni")).mode & 0o777, 0o755);
    assert.equal(statSync(path("run", "istio-cni-kubeconfig")).mode & 0o777, 0o600);
    const kubeconfig = JSON.parse(readFileSync(path("run", "istio-cni-kubeconfig"), "utf8")) as { clusters: { cluster: { server: string } }[]; users: { user: { token: string } }[] };
    assert.equal(kubeconfig.clusters[0]?.cluster.server, "https://[fd00::1]:443");
    assert.equal(kubeconfig.users[0]?.user.token, "T1");
  });
  it("owning its configuration, it copies the first one and leaves that alone; whoever writes that anew does not put it out", async () => {
    const text = JSON.stringify(PRIMARY);
    put("10-a.conflist", text);
    start({ owned: true });
    assert.deepEqual(types("02-istio-cni.conflist"), ["bridge", "istio-cni"]);
    assert.equal(readFileSync(path("net.d", "10-a.conflist"), "utf8"), text);
    // As a primary CNI does when its node has rebooted.
    put("10-a.conflist", { ...PRIMARY, plugins: [{ type: "ptp" }, { type: "portmap" }] });
    await until(() => types("02-istio-cni.conflist").includes("ptp"));
    assert.deepEqual([types("02-istio-cni.conflist"), types("10-a.conflist")], [["ptp", "portmap", "istio-cni"], ["ptp", "portmap"]]);
    done?.remove();
    assert.deepEqual(readdirSync(path("net.d")), ["10-a.conflist"]);
  });
  it("what it did the other way before is taken back: from chained to owning, and again", () => {
    put("10-a.conflist", PRIMARY);
    start().close();
    assert.deepEqual(types("10-a.conflist"), ["bridge", "istio-cni"]);
    start({ owned: true }).close();
    assert.deepEqual([types("02-istio-cni.conflist"), types("10-a.conflist")], [["bridge", "istio-cni"], ["bridge"]]);
    start().close();
    assert.deepEqual([readdirSync(path("net.d")), types("10-a.conflist")], [["10-a.conflist"], ["bridge", "istio-cni"]]);
  });
  it("a bare configuration stays bare; a name that would be read later is refused, and says so", () => {
    put("10-a.conf", { cniVersion: "0.3.1", name: "net", type: "bridge" });
    assert.ok(start({ owned: true }).installed);
    assert.deepEqual([readdirSync(path("net.d")), types("02-istio-cni.conflist")], [["02-istio-cni.conflist", "10-a.conf"], ["bridge", "istio-cni"]]);
    done?.remove();
    assert.ok(!start({ owned: true, ownedName: "99-late.conflist" }).installed);
    assert.deepEqual(readdirSync(path("net.d")), ["10-a.conf"]);
  });
  it("an executable that the image brings is copied, and put back when somebody changes it", async () => {
    put("10-a.conflist", PRIMARY);
    writeFileSync(path("shipped"), "executable");
    done = install({ netDir: path("net.d"), binDir: path("bin"), runDir: path("run"), confName: "", chained: true, owned: false, ownedName: "02-istio-cni.conflist", selectors: DEFAULT_SELECTORS, excludeNamespaces: [], podNamespace: "istio-system", kubeHost: "h", kubePort: "443" },
      systemClock, createLogger("test", { write: () => undefined }), (s) => { states.push(s); woken(); }, () => undefined, path("sa"), path("shipped"));
    const plugin = () => [readFileSync(path("bin", "istio-cni"), "utf8"), statSync(path("bin", "istio-cni")).mode & 0o777];
    assert.deepEqual(plugin(), ["executable", 0o755]);
    const inode = statSync(path("bin", "istio-cni")).ino;
    done.renew();
    assert.equal(statSync(path("bin", "istio-cni")).ino, inode, "what is right stays");
    writeFileSync(path("bin", "istio-cni"), "elsewhere!");
    await until(() => plugin()[0] === "executable");
  });
  for (const name of ["10-a.conf", "10-a.json"]) it(`${name} becomes a list, which runtimes read from .conflist only`, () => {
    put(name, { cniVersion: "0.3.1", name: "x", type: "bridge" });
    assert.ok(start().installed);
    assert.deepEqual(readdirSync(path("net.d")), ["10-a.conflist"]);
    assert.deepEqual(types("10-a.conflist"), ["bridge", "istio-cni"]);
  });
  it("comes when a configuration comes", async () => {
    assert.ok(!start().installed);
    put("10-a.conflist", PRIMARY);
    await until(() => states.at(-1) === true);
    assert.deepEqual(types("10-a.conflist"), ["bridge", "istio-cni"]);
  });
  it("comes back when somebody takes it out, and with a new token", async () => {
    put("10-a.conflist", PRIMARY);
    start();
    put("10-a.conflist", PRIMARY);
    await until(() => types("10-a.conflist").length === 2);
    rmSync(path("bin", "istio-cni"));
    await until(() => existsSync(path("bin", "istio-cni")));
    writeFileSync(path("sa", "token"), "T2");
    await until(() => readFileSync(path("run", "istio-cni-kubeconfig"), "utf8").includes('"T2"'));
  });
  it("has a token of its own, if there is one", () => {
    put("10-a.conflist", PRIMARY);
    const there = start();
    pluginToken = "OWN";
    there.renew();
    assert.match(readFileSync(path("run", "istio-cni-kubeconfig"), "utf8"), /"OWN"/);
  });
  it("a broken configuration is left alone and said", () => {
    put("10-a.conflist", "{");
    assert.ok(!start().installed);
    assert.equal(readFileSync(path("net.d", "10-a.conflist"), "utf8"), "{");
  });
  it("not chained: a file of its own, the others untouched", () => {
    put("10-a.conflist", PRIMARY);
    assert.ok(start({ chained: false }).installed);
    assert.deepEqual(types("10-a.conflist"), ["bridge"]);
    assert.equal((JSON.parse(readFileSync(path("net.d", "YYY-istio-cni.conf"), "utf8")) as { type: string }).type, "istio-cni");
    done?.remove();
    assert.deepEqual(readdirSync(path("net.d")), ["10-a.conflist"]);
  });
  it("the named configuration, also after it was converted", () => {
    put("10-a.conflist", PRIMARY);
    put("50-mine.conf", { name: "x", type: "bridge" });
    assert.ok(start({ confName: "50-mine.conf" }).installed);
    done?.close();
    assert.ok(start({ confName: "50-mine.conf" }).installed);
    assert.deepEqual(types("50-mine.conflist"), ["bridge", "istio-cni"]);
  });
  it("removal takes it out of every configuration, then goes", () => {
    put("10-a.conflist", PRIMARY);
    const first = start();
    first.close();
    // Another CNI arrived later and sorts first.
    put("05-new.conflist", PRIMARY);
    start().remove();
    assert.deepEqual([types("05-new.conflist"), types("10-a.conflist")], [["bridge"], ["bridge"]]);
    assert.deepEqual([readdirSync(path("bin")), readdirSync(path("run"))], [[], []]);
  });
  it("while some configuration still names it, the program stays: a chain without it would stop every pod", () => {
    put("10-a.conflist", PRIMARY);
    const it = start();
    put("20-b.conflist", '{"plugins":[{"type":"istio-cni"},]}');
    it.remove();
    assert.ok(existsSync(path("bin", "istio-cni")));
  });
});
