import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findNetworkNamespaces, localIpv4, localIpv6, openPodNetns, podUidOf } from "./netns-finder.ts";
import { countCaptured } from "./sockets.ts";

const UID = "0b1c2d3e-1111-2222-3333-444455556666";
const trie = (ip: string) => `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.244.1.0/24 2 0 2
        |-- 10.244.1.0
           /24 link UNICAST
        |-- ${ip}
           /32 host LOCAL
        |-- 10.244.1.255
           /32 link BROADCAST
Local:
     |-- 127.0.0.1
        /32 host LOCAL
`;

describe("what /proc says", () => {
  it("local IPv4 addresses are the leaves marked LOCAL", () => assert.deepEqual([...localIpv4(trie("10.244.1.7"))], ["10.244.1.7", "127.0.0.1"]));
  it("local IPv6 addresses are the lines of if_inet6", () => assert.deepEqual([...localIpv6("00000000000000000000000000000001 01 80 10 80       lo\nfd990000000000000000000000000002 0d 40 00 80     eth0\nnonsense\n")], ["00000000000000000000000000000001", "fd990000000000000000000000000002"]));
  for (const [text, uid] of [
    [`0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID.replaceAll("-", "_")}.slice/cri-containerd-abc.scope\n`, UID],
    [`11:memory:/kubepods/besteffort/pod${UID}/abc\n`, UID], ["0::/\n", undefined], ["", undefined], ["0::/user.slice/pod.scope\n", undefined],
  ] as const) it(`the pod of cgroup ${JSON.stringify(text.slice(0, 40))}… is ${uid}`, () => assert.equal(podUidOf(text), uid));
  it("captured connections are those of ztunnel's ports that still live", () => {
    const line = (port: number, state: string) => `   0: 0100007F:${port.toString(16).toUpperCase().padStart(4, "0")} 0100007F:1F90 ${state} 00000000:00000000 00:00000000 00000000     0        0 1 1\n`;
    assert.equal(countCaptured(`  sl  local_address rem_address   st\n${line(15001, "01")}${line(15006, "08")}${line(15001, "0A")}${line(15001, "06")}${line(15008, "01")}${line(8080, "01")}`), 2);
  });
  it("a damaged table counts nothing", () => assert.equal(countCaptured("x\0y\n\n 1: :: 2"), 0));
});

describe("finding a pod's namespace", () => {
  let proc: string;
  const process_ = (pid: number, ns: string, o: { ip?: string; v6?: string; cgroup?: string } = {}) => {
    const dir = join(proc, String(pid));
    mkdirSync(join(dir, "ns"), { recursive: true });
    mkdirSync(join(dir, "net"));
    const file = join(proc, `ns-${ns}`);
    writeFileSync(file, "", { flag: "a" });
    symlinkSync(file, join(dir, "ns", "net"));
    if (o.ip !== undefined) writeFileSync(join(dir, "net", "fib_trie"), trie(o.ip));
    if (o.v6 !== undefined) writeFileSync(join(dir, "net", "if_inet6"), o.v6);
    writeFileSync(join(dir, "cgroup"), o.cgroup ?? "0::/\n");
  };
  beforeEach(() => { proc = mkdtempSync(join(tmpdir(), "cni-proc-")); process_(1, "host", { ip: "172.30.0.11" }); });
  afterEach(() => rmSync(proc, { recursive: true }));
  const found = (uid: string, ...ips: string[]) => {
    using ns = openPodNetns(proc, uid, ips);
    return ns !== undefined;
  };

  it("by its IPv4 or IPv6 address, however written, each namespace once, the node's never", () => {
    process_(20, "a", { ip: "10.244.1.7", v6: "fd990000000000000000000000000002 0d 40 00 80     eth0\n" });
    process_(21, "a", { ip: "10.244.1.7" });
    process_(22, "host", { ip: "172.30.0.11" });
    assert.equal(findNetworkNamespaces(proc).length, 1);
    assert.ok(found(UID, "10.244.1.7"));
    assert.ok(found(UID, "fd99:0::2"));
    assert.ok(!found(UID, "172.30.0.11"));
    assert.ok(!found(UID, "10.244.1.8", "nonsense"));
  });
  it("an address whose namespace is, by cgroup, another pod's is not this one's", () => {
    process_(20, "a", { ip: "10.244.1.7", cgroup: `0::/kubepods/pod${UID}/x\n` });
    assert.ok(found(UID, "10.244.1.7"));
    assert.ok(!found("ffffffff-1111-2222-3333-444455556666", "10.244.1.7"));
  });
  it("a process that ends meanwhile hides nobody", () => {
    process_(20, "a");
    process_(21, "a", { ip: "10.244.1.7" });
    assert.ok(found(UID, "10.244.1.7"));
  });
});
