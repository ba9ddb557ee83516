// Each image starts from its archive alone. `npm test` does one; `pnpm images:boot` (IMAGES_BOOT=all) all of them, and prints the table of docs/performance.md.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Image } from "@ambit/lab/images";
import { boot, PORTS, runIn, unpack, type Booting } from "./boot.fixture.ts";
import { COMPONENTS } from "./components.ts";
import { ImageBuilder, type BuiltImage } from "./image.ts";
import { thisMachine } from "./root/machine.ts";

const REPO = join(import.meta.dirname, "../../..");
const MIB = 1024 * 1024;
const ALL = process.env["IMAGES_BOOT"] === "all";
/** The one with everything: native code and threads. */
const TRIED = COMPONENTS.filter((c) => ALL || c.name === "ztunnel");
const STARTS = ALL ? 5 : 1;
describe("images from their archives alone", function () {
  this.timeout(ALL ? 300_000 : 60_000);
  let dir: string;
  let builder: ImageBuilder;
  before(function () {
    if (process.getuid?.() !== 0) this.skip(); // a root file system of one's own needs root
    dir = mkdtempSync(join(tmpdir(), "ambit-boot-"));
    builder = new ImageBuilder({ repo: REPO, version: "0.0.0-test", revision: undefined, machine: thisMachine(REPO) });
  });
  after(() => { if (dir !== undefined) rmSync(dir, { recursive: true, force: true }); });

  for (const component of TRIED) describe(component.name, () => {
    let built: BuiltImage;
    let image: Image;
    let booting: Omit<Booting, "port">;
    before(async () => {
      built = await builder.build(component);
      ({ image, booting } = await unpack(component.name, built, join(dir, component.name)));
    });

    it("is the same when it is built again", async () => assert.equal((await builder.build(component)).digest, built.digest));
    it("has no shell unless it needs one, and nothing that this machine trusts", () => {
      assert.equal(existsSync(join(booting.root, "usr/bin/sh")), component.programs.some((p) => p.path === "/bin/sh"));
      assert.deepEqual(readdirSync(join(booting.root, "usr/bin")).sort(), ["node", ...component.programs.filter((p) => !p.path.includes("sbin")).map((p) => p.path.split("/").at(-1) ?? "")].sort());
      assert.deepEqual(readdirSync(join(booting.root, "etc")).sort(), ["group", "nsswitch.conf", "passwd", "ssl"]);
    });
    it("carries its bill of materials and the licences of what is in it", () => {
      const sbom = JSON.parse(built.sbom) as { components: { name: string; group?: string }[] };
      const names = sbom.components.map((c) => c.name);
      assert.ok(names.includes("libc6") && names.some((n) => n.startsWith("node-linux-")), names.join());
      assert.equal(names.includes("koffi"), component.native);
      assert.equal(sbom.components.filter((c) => c.name === "libc6").length, 1);
      assert.ok(existsSync(join(booting.root, "usr/share/sbom/ambit.cdx.json")));
      const licences = readdirSync(join(booting.root, "usr/share/licenses/npm"));
      assert.ok(licences.some((n) => n.startsWith("node-linux-")));
    });
    it("starts, as the user it names", async () => {
      const starts: number[] = [];
      for (let i = 0; i < STARTS; i++) {
        const { startMs, log } = await boot({ ...booting, port: PORTS[component.name] });
        starts.push(startMs);
        assert.doesNotMatch(log, /"level":"error"|Error \[|EROFS/);
      }
      const median = starts.toSorted((a, b) => a - b)[Math.floor(starts.length / 2)] ?? NaN;
      process.stdout.write(`      | ${component.name} | ${image.user} | ${(built.archive.length / MIB).toFixed(1)} | ${(built.unpackedBytes / MIB).toFixed(1)} | ${median.toFixed(0)} |\n`);
    });
    if (component.programs.length > 0) it("its programs run, with what they load", async () => {
      const net = { ...booting, env: {} };
      assert.match(await runIn(net, ["/bin/sh", "-e", "-c", "nft --version; ip -V; nsenter --version; unshare --version; echo yes | grep yes"]), /yes/);
      const rules = ["*nat", ":X - [0:0]", "-A X -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 15001", "COMMIT", "*mangle", ":X - [0:0]", "-A X -m mark --mark 0x1 -j CONNMARK --set-xmark 0x111/0xfff", "COMMIT",
        "*raw", ":X - [0:0]", "-A X -p udp -m udp --sport 53 -j CT --zone 2", "COMMIT", "*filter", ":X - [0:0]", "-A X -p tcp -m conntrack --ctstate DNAT -j REJECT --reject-with tcp-reset", "COMMIT"].join("\n");
      for (const v of ["iptables", "ip6tables"]) assert.match(await runIn(net, ["/bin/sh", "-e", "-c", `${v}-nft-restore --noflush <<'END'\n${rules}\nEND\n${v}-nft-save`]), /-A X -p tcp -m conntrack/);
    });
  });
});
