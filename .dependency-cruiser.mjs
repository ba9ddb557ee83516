// The picture of docs/architecture.md as rules: storeys, purity, and who may touch sockets, processes and FFI.
import { Visitor } from "@swc/core/Visitor.js";

// swc parses `using`, but the visitor that dependency-cruiser inherits from does not know the node and throws.
const visitStatement = Visitor.prototype.visitStatement;
Visitor.prototype.visitStatement = function visit(statement) {
  if (statement.type !== "UsingDeclaration") return visitStatement.call(this, statement);
  this.visitVariableDeclarators(statement.decls);
  return statement;
};

const PURE = ["^packages/core/src/", "^packages/collections/src/", "^packages/http/src/", "^packages/charts/src/", "/src/.*/?(plan|model|protocol|rules)/", "^packages/istiod-lite/src/collections/"];
const TESTS = ["[.](test|fixture)[.]ts$", "^packages/testkit/", "/testdata/", "/testing/"];
const BINARIES = ["ztunnel", "waypoint", "istiod-lite", "cni", "lab"];

export default {
  forbidden: [
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } } },
    { name: "core-has-no-dependencies", severity: "error", from: { path: ["^packages/core/src/", "^packages/collections/src/", "^packages/http/src/"], pathNot: TESTS }, to: { pathNot: ["^packages/core/src/", "^packages/collections/src/", "^packages/http/src/"] } },
    { name: "pure-folders-have-no-node", severity: "error", comment: "pure code decides; the shell acts", from: { path: PURE, pathNot: TESTS }, to: { dependencyTypes: ["core"] } },
    { name: "libraries-do-not-know-binaries", severity: "error", from: { path: "^packages/(core|proto|charts|collections|xds|http|transport|kube|hbone|linux|runtime)/src/", pathNot: TESTS }, to: { path: `^packages/(${BINARIES.join("|")}|cli)/` } },
    ...BINARIES.map((b) => ({
      name: `${b}-does-not-import-other-binaries`, severity: "error", from: { path: `^packages/${b}/src/`, pathNot: TESTS },
      to: { path: `^packages/(${[...BINARIES, "cli"].filter((x) => x !== b).join("|")})/` },
    })),
    { name: "cli-imports-only-pure-parts-of-binaries", severity: "error", comment: "ambit why answers from the same pure code (ADR 0018)", from: { path: "^packages/cli/src/" }, to: { path: "^packages/(ztunnel|waypoint|istiod-lite|cni)/src/", pathNot: "^packages/(ztunnel|waypoint|istiod-lite)/src/pure[.]ts$" } },
    { name: "io-libraries-side-by-side", severity: "error", comment: "only hbone stands on another one, transport", from: { path: "^packages/(transport|xds|kube|linux|hbone)/src/", pathNot: TESTS }, to: { path: "^packages/(transport|xds|kube|linux|hbone)/", pathNot: ["^packages/$1/", "^packages/transport/src/index[.]ts$"] } },
    { name: "transport-only-under-hbone", severity: "error", from: { path: "^packages/(xds|kube|linux)/src/", pathNot: TESTS }, to: { path: "^packages/transport/" } },
    { name: "sockets-only-where-allowed", severity: "error", comment: "ztunnel and istiod-lite get theirs from linux, transport, xds and runtime", from: { path: "^packages/", pathNot: [...TESTS, "^packages/(linux|transport)/src/", "^packages/runtime/src/admin[.]ts$", "^packages/kube/src/client[.]ts$", "^packages/hbone/src/tunnel-client[.]ts$", "^packages/istiod-lite/src/jwks/fetch[.]ts$", "^packages/cni/src/plugin/", "^packages/cli/src/port-forward[.]ts$", "^packages/images/src/root/certificates[.]ts$", "^packages/lab/src/(supervisor|dns|node|sample|apiserver/(http|proxy|webhooks|test-client[.]ts))"] }, to: { path: "^(node:)?(net|tls|dgram|http|https|http2)$", dependencyTypesNot: ["type-only"] } },
    { name: "runtime-below-io", severity: "error", from: { path: "^packages/runtime/src/", pathNot: TESTS }, to: { path: "^packages/(?!runtime|core)" } },
    { name: "ffi-only-in-linux", severity: "error", from: { path: "^packages/", pathNot: "^packages/linux/src/" }, to: { path: "koffi" } },
    { name: "processes-only-where-allowed", severity: "error", from: { path: "^packages/", pathNot: [...TESTS, "^packages/linux/src/", "^packages/lab/src/(node|supervisor|network)/", "^packages/cli/src/", "^packages/cni/src/host-probes[.]ts$", "^packages/images/src/(main|executable|foreign)[.]ts$", "^packages/kube/src/config[.]ts$"] }, to: { path: "^(node:)?child_process$" } },
    { name: "testkit-only-in-tests", severity: "error", from: { path: "^packages/", pathNot: TESTS }, to: { path: "^packages/testkit/" } },
    { name: "wire-types-stop-at-decode", severity: "error", from: { path: "^packages/(?!proto/)", pathNot: [...TESTS, "/(decode|encode|prepare|messages)[^/]*[.]ts$"] }, to: { path: "^packages/proto/" } },
  ],
  options: {
    // TypeScript 7 has no API for it to use.
    parser: "swc",
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    exclude: { path: "packages/proto/src/gen/" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default"], extensions: [".ts", ".js", ".mjs", ".json"] },
  },
};
