// What is packed here, the system's own tar unpacks.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { encodeTar } from "./tar.ts";

const tar = (bytes: Uint8Array, ...args: string[]): string => execFileSync("tar", args, { input: bytes, encoding: "utf8" });

describe("a tar archive", () => {
  const long = `${"folder/".repeat(18)}file-${"x".repeat(60)}.log`;
  const files = [{ path: "a.txt", content: "hello\n" }, { path: "empty", content: "" }, { path: long, content: "é".repeat(700) }, { path: "block", content: "b".repeat(1024) }];
  const bytes = encodeTar(files, Date.parse("2026-05-01T00:00:00Z"));

  it("lists its files, readable by their owner alone, with their time", () => {
    assert.deepEqual(tar(bytes, "tf", "-").trim().split("\n"), files.map((f) => f.path));
    assert.match(execFileSync("tar", ["tvf", "-"], { input: bytes, encoding: "utf8", env: { ...process.env, TZ: "UTC" } }), /^-rw------- 0\/0 +6 2026-05-01 00:00 a\.txt$/m);
  });
  for (const file of files) it(`gives back ${file.path.slice(-12)}`, () => assert.equal(tar(bytes, "xOf", "-", file.path), file.content));
  it("refuses a path that has no place in it", () => assert.throws(() => encodeTar([{ path: "x".repeat(101), content: "" }], 0), /does not fit/));
});
