import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseTokens, reviewByFile } from "./static-tokens.ts";

const TOKEN = "t".repeat(32);
const OTHER = "o".repeat(40);

describe("static tokens", () => {
  it("reads token, account and pod, comments and blank lines", () => {
    const table = parseTokens(`# who\n\n${TOKEN},istio-system/ztunnel,ztunnel-1\n  ${OTHER} , app/web \n`, "f");
    assert.deepEqual([...table.values()], [{ namespace: "istio-system", serviceAccount: "ztunnel", podName: "ztunnel-1" }, { namespace: "app", serviceAccount: "web" }]);
    assert.ok(![...table.keys()].some((k) => k.includes("ttt")), "tokens are not kept");
  });
  const bad: readonly (readonly [string, RegExp])[] = [
    ["short,a/b", /f:1: has a token of fewer than 32/], [`${TOKEN},a`, /f:1: "a" is not namespace\/serviceaccount/], [`${TOKEN},a/b/c`, /is not namespace/], [`${TOKEN},A/b`, /is not namespace/],
    [`${TOKEN},a/b,c,d`, /has more than/], [`${TOKEN},a/b,..`, /is not the name of a pod/], [`${TOKEN},a/b\n${TOKEN},a/c`, /f:2: has the token of another line/], [TOKEN, /is not namespace/],
  ];
  for (const [text, message] of bad)
    it(`refuses ${text.replaceAll(TOKEN, "TOKEN")}`, () => assert.throws(() => parseTokens(text, "f"), (e: Error) => message.test(e.message) && !e.message.includes(TOKEN)));

  describe("in a file", () => {
    let folder: string;
    let file: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "ambit-tokens-"));
      file = join(folder, "tokens");
      writeFileSync(file, `${TOKEN},app/web,web-1\n`, { mode: 0o600 });
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    it("vouches with the pod's uid, and for nobody else", async () => {
      const review = reviewByFile(file, (ns, pod) => `${ns}-${pod}-uid`);
      assert.deepEqual(await review(TOKEN, "istio-ca"), { ok: true, reviewed: { namespace: "app", serviceAccount: "web", podName: "web-1", podUid: "app-web-1-uid" } });
      for (const guess of ["", OTHER, `${TOKEN} `, TOKEN.slice(1)]) assert.equal((await review(guess, "istio-ca")).ok, false);
    });
    it("follows the file, also when a token is taken away", async () => {
      const review = reviewByFile(file, () => "");
      assert.equal((await review(TOKEN, "istio-ca")).ok, true);
      writeFileSync(file, `${OTHER},app/web\n`);
      assert.equal((await review(TOKEN, "istio-ca")).ok, false);
      assert.equal((await review(OTHER, "istio-ca")).ok, true);
    });
    it("vouches for nobody while the file is not understood, gone, or everybody's", async () => {
      const review = reviewByFile(file, () => "");
      assert.equal((await review(TOKEN, "istio-ca")).ok, true);
      writeFileSync(file, "nonsense\nmore nonsense");
      await assert.rejects(review(TOKEN, "istio-ca"), /tokens:1/);
      writeFileSync(file, `${TOKEN},app/web\n`);
      chmodSync(file, 0o644);
      await assert.rejects(review(TOKEN, "istio-ca"), /chmod 600/);
      rmSync(file);
      await assert.rejects(review(TOKEN, "istio-ca"), /ENOENT/);
    });
  });
});
