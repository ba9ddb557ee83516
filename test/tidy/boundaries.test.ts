// The rules of .dependency-cruiser.mjs bite: one small tree with one violation of each, and what is allowed beside it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ROOT } from "./tree.fixture.ts";

const PLAIN = "export const x = 1;\n";
const uses = (...modules: string[]): string => modules.map((m, i) => `import * as m${i} from "${m}";\n`).join("") + modules.map((_, i) => `void m${i};\n`).join("");

const TREE: Readonly<Record<string, string>> = {
  "packages/proto/src/index.ts": PLAIN,
  "packages/testkit/src/index.ts": PLAIN,
  "packages/core/src/index.ts": PLAIN,
  "packages/core/src/clean.ts": uses("./index.ts"),
  "packages/core/src/impure.ts": uses("node:fs"),
  "packages/core/src/above.ts": uses("../../runtime/src/index.ts"),
  "packages/runtime/src/index.ts": PLAIN,
  "packages/runtime/src/above.ts": uses("../../kube/src/index.ts"),
  "packages/kube/src/index.ts": uses("../../runtime/src/index.ts"),
  "packages/kube/src/sideways.ts": uses("../../linux/src/index.ts"),
  "packages/linux/src/index.ts": uses("koffi"),
  "packages/transport/src/index.ts": PLAIN,
  "packages/hbone/src/index.ts": uses("../../transport/src/index.ts"),
  "packages/xds/src/upwards.ts": uses("../../ztunnel/src/app.ts"),
  "packages/xds/src/sideways.ts": uses("../../transport/src/index.ts"),
  "packages/xds/src/native.ts": uses("koffi"),
  "packages/ztunnel/src/pure.ts": PLAIN,
  "packages/ztunnel/src/app.ts": PLAIN,
  "packages/ztunnel/src/plan/reads.ts": uses("node:fs"),
  "packages/proxy/src/state/decode.ts": uses("../../../proto/src/index.ts"),
  "packages/ztunnel/src/proxy/wire.ts": uses("../../../proto/src/index.ts"),
  "packages/ztunnel/src/proxy/socket.ts": uses("node:net"),
  "packages/ztunnel/src/proxy/types.ts": 'import type { Socket } from "node:net";\nexport type S = Socket;\n',
  "packages/ztunnel/src/proxy/child.ts": uses("node:child_process"),
  "packages/ztunnel/src/proxy/one.ts": uses("./two.ts"),
  "packages/ztunnel/src/proxy/two.ts": uses("./one.ts"),
  "packages/ztunnel/src/proxy/disposal.ts": 'import * as m from "../../../cni/src/app.ts";\nusing held = { m, [Symbol.dispose]() {} };\nvoid held;\n',
  "packages/ztunnel/src/proxy/helped.ts": uses("../../../testkit/src/index.ts"),
  "packages/ztunnel/src/proxy/helped.test.ts": uses("../../../testkit/src/index.ts", "node:net"),
  "packages/cni/src/app.ts": PLAIN,
  "packages/cli/src/why.ts": uses("../../ztunnel/src/pure.ts"),
  "packages/cli/src/peek.ts": uses("../../ztunnel/src/app.ts"),
};

const EXPECTED = [
  "cli-imports-only-pure-parts-of-binaries packages/cli/src/peek.ts",
  "core-has-no-dependencies packages/core/src/above.ts",
  "core-has-no-dependencies packages/core/src/impure.ts",
  "ffi-only-in-linux packages/xds/src/native.ts",
  "io-libraries-side-by-side packages/kube/src/sideways.ts",
  "libraries-do-not-know-binaries packages/xds/src/upwards.ts",
  "no-cycles packages/ztunnel/src/proxy/one.ts",
  "processes-only-where-allowed packages/ztunnel/src/proxy/child.ts",
  "pure-folders-have-no-node packages/core/src/impure.ts",
  "pure-folders-have-no-node packages/ztunnel/src/plan/reads.ts",
  "runtime-below-io packages/runtime/src/above.ts",
  "sockets-only-where-allowed packages/ztunnel/src/proxy/socket.ts",
  "testkit-only-in-tests packages/ztunnel/src/proxy/helped.ts",
  "transport-only-under-hbone packages/xds/src/sideways.ts",
  "wire-types-stop-at-decode packages/ztunnel/src/proxy/wire.ts",
  "ztunnel-does-not-import-other-binaries packages/ztunnel/src/proxy/disposal.ts",
];

describe("tidy: the boundary rules", () => {
  let dir = "";
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "ambit-boundaries-"));
    for (const [path, text] of Object.entries(TREE)) {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), text);
    }
    symlinkSync(join(ROOT, "node_modules"), join(dir, "node_modules"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  it("report each violation of a small tree, and nothing that is allowed", () => {
    const done = spawnSync(process.execPath, [join(ROOT, "node_modules/dependency-cruiser/bin/dependency-cruiser.mjs"), "--config", join(ROOT, ".dependency-cruiser.mjs"), "-T", "json", "packages"], { cwd: dir, encoding: "utf8" });
    const { summary } = JSON.parse(done.stdout) as { summary: { violations: { from: string; rule: { name: string } }[] } };
    assert.deepEqual([...new Set(summary.violations.map((v) => `${v.rule.name} ${v.from}`))].sort(), EXPECTED);
  });
});
