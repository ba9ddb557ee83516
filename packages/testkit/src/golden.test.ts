import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkGolden, goldenCases } from "./golden.ts";

describe("golden cases", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "ambit-golden-"));
    mkdirSync(join(folder, "one"));
    writeFileSync(join(folder, "one", "input.yaml"), "kind: A\n---\nkind: B\n");
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const echo = (kinds: string) => (input: Parameters<Parameters<typeof checkGolden>[2]>[0]) => input.take((d) => kinds.includes(String(d["kind"]))).map((d) => d["kind"]);

  it("are written on update and hold afterwards", () => {
    checkGolden(folder, "one", echo("AB"), true);
    assert.equal(readFileSync(join(folder, "one", "expected.yaml"), "utf8"), "- A\n- B\n");
    checkGolden(folder, "one", echo("AB"), false);
  });
  it("fail when the outcome differs", () => {
    writeFileSync(join(folder, "one", "expected.yaml"), "- A\n");
    assert.throws(() => checkGolden(folder, "one", echo("AB"), false), /differs from expected/);
  });
  it("fail without an expectation", () => assert.throws(() => checkGolden(folder, "one", echo("AB"), false), /has no expected.yaml/));
  it("fail when a document was not read, even on update", () => assert.throws(() => checkGolden(folder, "one", echo("A"), true), /document 2 \(B\)/));
  it("refuse an expectation without input", () => {
    mkdirSync(join(folder, "two"));
    writeFileSync(join(folder, "two", "expected.yaml"), "");
    assert.throws(() => goldenCases(folder), /has no input.yaml/);
  });
  it("refuse files that belong to no case", () => {
    writeFileSync(join(folder, "one", "expected.yml"), "");
    assert.throws(() => goldenCases(folder), /expected.yml is neither/);
  });
});
