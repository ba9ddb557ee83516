import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "@ambit/runtime";
import { renderSbom } from "../sbom.ts";
import { rootCertificates } from "./certificates.ts";
import { debianOwners } from "./debian.ts";
import { readElf } from "./elf.ts";
import { librariesOf } from "./libraries.ts";
import { tripletOf } from "./machine.ts";

const LS = realpathSync("/bin/ls");
const here = process.arch === "arm64" ? { root: "", triplet: tripletOf("arm64"), machine: "aarch64" as const } : { root: "", triplet: tripletOf("amd64"), machine: "x86-64" as const };

describe("the root of an image", () => {
  it("a program's libraries are those that its loader would take", () => {
    const found = librariesOf([{ path: LS, body: readFileSync(LS) }], here).map((l) => l.source);
    const loader = [...execFileSync("ldd", [LS], { encoding: "utf8" }).matchAll(/(\/\S+) \(/g)].map((m) => realpathSync(m[1] ?? ""));
    assert.deepEqual(found.toSorted(), [...new Set(loader)].toSorted());
  });
  it("a library that is nowhere is named, and so is a program of another machine", () => {
    const dir = mkdtempSync(join(tmpdir(), "ambit-root-"));
    try {
      assert.throws(() => librariesOf([{ path: "ls", body: readFileSync(LS) }], { ...here, root: dir }), /^Error: ls needs \S+\.so\S*, which is in none of/);
      assert.throws(() => librariesOf([{ path: "ls", body: readFileSync(LS) }], { ...here, machine: here.machine === "aarch64" ? "x86-64" : "aarch64" }), /ls is for /);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
  it("what is no ELF file has no libraries; what is a damaged one is a RangeError, an answer, and nothing else", () => {
    assert.equal(readElf(Buffer.from("#!/bin/sh\n")), undefined);
    const random = seededRandom(3);
    const good = readFileSync(LS);
    for (let i = 0; i < 300; i++) {
      const bytes = Buffer.from(good);
      for (let k = 0; k < 4; k++) bytes[Math.floor(random() * 600)] = Math.floor(random() * 256);
      try {
        readElf(bytes);
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error));
      }
    }
  });
  it("Debian's packages own their files, also where /lib was not /usr/lib yet", () => {
    const dir = mkdtempSync(join(tmpdir(), "ambit-root-"));
    try {
      mkdirSync(join(dir, "var/lib/dpkg/info"), { recursive: true });
      writeFileSync(join(dir, "var/lib/dpkg/status"), "Package: libc6\nArchitecture: amd64\nVersion: 2.36-9\n\nPackage: x\nVersion: 1\nArchitecture: all\n");
      writeFileSync(join(dir, "var/lib/dpkg/info/libc6:amd64.list"), "/.\n/lib/a/libc.so.6\n");
      const owner = debianOwners(dir);
      assert.deepEqual(owner(join(dir, "usr/lib/a/libc.so.6")), { name: "libc6", version: "2.36-9", architecture: "amd64" });
      assert.equal(owner(join(dir, "usr/lib/a/other")), undefined);
      assert.equal(debianOwners(join(dir, "nowhere"))("/lib/a"), undefined);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
  it("certificates are Mozilla's, in PEM", () => assert.ok(rootCertificates().split("-----BEGIN CERTIFICATE-----").length > 100));
  it("the bill of materials is sorted, with hashes and package URLs", () => assert.deepEqual(
    JSON.parse(renderSbom({
      image: "thing", version: "1", license: "Apache-2.0", distribution: "debian-12", loose: [{ path: "usr/lib/x", sha256: "aa" }],
      npm: [{ name: "koffi", version: "3.0.0", license: "MIT", integrity: "sha512-AAEC" }, { name: "@a/b", version: "2.0.0", license: undefined, integrity: undefined }],
      debian: [{ name: "libstdc++6", version: "12.2.0-14+deb12u1", architecture: "amd64" }],
    })),
    {
      bomFormat: "CycloneDX", specVersion: "1.6", version: 1, metadata: { component: { type: "container", "bom-ref": "pkg:oci/thing@1", name: "thing", version: "1", licenses: [{ license: { id: "Apache-2.0" } }] } },
      components: [
        { type: "file", name: "usr/lib/x", hashes: [{ alg: "SHA-256", content: "aa" }], "bom-ref": "file:usr/lib/x" },
        { type: "library", name: "libstdc++6", version: "12.2.0-14+deb12u1", purl: "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12", "bom-ref": "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12" },
        { type: "library", group: "@a", name: "b", version: "2.0.0", purl: "pkg:npm/%40a/b@2.0.0", "bom-ref": "pkg:npm/%40a/b@2.0.0" },
        { type: "library", name: "koffi", version: "3.0.0", licenses: [{ expression: "MIT" }], hashes: [{ alg: "SHA-512", content: "000102" }], purl: "pkg:npm/koffi@3.0.0", "bom-ref": "pkg:npm/koffi@3.0.0" },
      ],
      dependencies: [{ ref: "pkg:oci/thing@1", dependsOn: ["file:usr/lib/x", "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12", "pkg:npm/%40a/b@2.0.0", "pkg:npm/koffi@3.0.0"] }],
    }));
});
