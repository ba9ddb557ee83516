// The vectors are Istio's own (l7-authz 3): what an application must see for each level of pathNormalization.
import assert from "node:assert/strict";
import fc from "fast-check";
import { normalizeTarget, targetOf } from "./normalize-path.ts";
import type { PathNormalization } from "./waypoint-config.ts";

const normal = (target: string, level: PathNormalization): string => {
  const done = normalizeTarget(target, level);
  return done.ok ? targetOf(done.value.path, done.value.query) : "400";
};

/** Sent, then what each level makes of it: none, base, merge-slashes, decode-and-merge-slashes. */
const VECTORS: [string, string, string, string, string][] = [
  ["/", "/", "/", "/", "/"],
  ["/app#foo", "/app", "/app", "/app", "/app"],
  ["/app/", "/app/", "/app/", "/app/", "/app/"],
  ["/app/../admin", "/app/../admin", "/admin", "/admin", "/admin"],
  ["/app//", "/app//", "/app//", "/app/", "/app/"],
  ["/app/%2f", "/app/%2f", "/app/%2f", "/app/%2f", "/app/"],
  ["/app%2f/", "/app%2f/", "/app%2f/", "/app%2f/", "/app/"],
  ["/xyz%30..//abc", "/xyz%30..//abc", "/xyz0..//abc", "/xyz0../abc", "/xyz0../abc"],
  ["/app/%2E./admin", "/app/%2E./admin", "/admin", "/admin", "/admin"],
  ["/app\\admin", "/app\\admin", "/app/admin", "/app/admin", "/app/admin"],
  ["/app/\\/\\/\\admin", "/app/\\/\\/\\admin", "/app//////admin", "/app/admin", "/app/admin"],
  ["/%2Fapp%5cadmin%5Cabc", "/%2Fapp%5cadmin%5Cabc", "/%2Fapp%5cadmin%5Cabc", "/%2Fapp%5cadmin%5Cabc", "/app/admin/abc"],
  ["/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc", "/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc", "/%5Capp%2f%5c%2F..%2fadmin%5c/abc", "/%5Capp%2f%5c%2F..%2fadmin%5c/abc", "/app/admin/abc"],
  ["/app//../admin", "/app//../admin", "/app/admin", "/app/admin", "/app/admin"],
  ["/app//../../admin", "/app//../../admin", "/admin", "/admin", "/admin"],
];
const LEVELS: readonly PathNormalization[] = ["none", "base", "merge-slashes", "decode-and-merge-slashes"];

describe("pathNormalization", () => {
  for (const [sent, ...expected] of VECTORS) for (const [i, level] of LEVELS.entries()) it(`${level}: ${sent}`, () => assert.equal(normal(sent, level), expected[i]));

  const DEEPEST: [string, string][] = [["/%c0%2e%c0%2e/admin", "/%c0.%c0./admin"], ["/%c0%2fadmin", "/%c0/admin"], ["/admin%00", "400"], ["admin", "400"], ["http://web/admin", "400"], ["*", "*"]];
  for (const [sent, expected] of DEEPEST) it(`decode-and-merge-slashes: ${sent}`, () => assert.equal(normal(sent, "decode-and-merge-slashes"), expected));

  for (const same of ["/0x2e0x2e/admin", "/0x2f0x2fadmin", "/%25c0%25ae%25c1%259cadmin", "/%252e%252e/admin", "/%252e%252e%252fadmin", "/%c1%9cadmin", "/%c0%ae%c0%ae/admin", "/%c0%afadmin", "/.../admin", "/..../admin", "/..;/admin", "/;/admin", "/admin;a=b/xyz", "/Admin", "/%zz%"])
    it(`is not touched by the deepest level: ${same}`, () => assert.equal(normal(same, "decode-and-merge-slashes"), same));

  it("escapes %01 to %ff: only unreserved characters, / and \\ are decoded", () => {
    for (let i = 1; i <= 0xff; i++) {
      const escape = `%${i.toString(16).padStart(2, "0")}`;
      const char = String.fromCharCode(i);
      const expected = /[A-Za-z0-9\-._~]/.test(char) ? `/admin${char}` : char === "/" || char === "\\" ? "/admin/" : `/admin${escape}`;
      assert.equal(normal(`/admin${escape}`, "decode-and-merge-slashes"), expected);
    }
  });
  it("the query is kept as it is, the fragment is not", () => assert.equal(normal("/a/../b?x=/../%2e#/c?d", "base"), "/b?x=/../%2e"));
  it("doing it twice changes nothing more, but for what the first time decoded on purpose", () => {
    const piece = fc.constantFrom("/", "//", "\\", ".", "..", "%2e", "%2F", "%5c", "a", "%41", "%7e", ";", "%20");
    fc.assert(fc.property(fc.array(piece, { maxLength: 12 }), fc.constantFrom(...LEVELS), (pieces, level) => {
      const once = normal(`/${pieces.join("")}`, level);
      assert.equal(normal(once, level), once);
    }), { numRuns: 2000, seed: 1 });
  });
});
