// Which features of the Gateway API's mesh profiles are claimed, which are not (unsupported.json), and that each of the suite's cases is one of our tests.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { classStatus } from "@ambit/istiod-lite/pure";

const EXTENDED = [
  "MeshClusterIPMatching", "MeshConsumerRoute", "MeshHTTPRouteBackendRequestHeaderModification", "MeshHTTPRouteNamedRouteRule", "MeshHTTPRouteQueryParamMatching", "MeshHTTPRouteRedirectPath",
  "MeshHTTPRouteRedirectPort", "MeshHTTPRouteRewritePath", "MeshHTTPRouteSchemeRedirect",
  // Not of the profiles, but asked for by their cases.
  "HTTPRouteResponseHeaderModification", "HTTPRouteParentRefPort", "HTTPRoute303RedirectStatusCode", "HTTPRoute307RedirectStatusCode", "HTTPRoute308RedirectStatusCode",
];
const PROFILES = { "MESH-HTTP": ["Mesh", "HTTPRoute", ...EXTENDED], "MESH-GRPC": ["Mesh", "GRPCRoute", ...EXTENDED] } as const;
/** Of v1.6, and of the main branch after it. */
const CASES = [
  "MeshBasic", "MeshHTTPRouteSimpleSameNamespace", "MeshTrafficSplit", "MeshHTTPRouteMatching", "MeshHTTPRouteQueryParamMatching", "MeshHTTPRouteRequestHeaderModifier",
  "MeshHTTPRouteBackendRequestHeaderModifier", "MeshHTTPRouteRewritePath", "MeshHTTPRouteRedirectHostAndStatus", "MeshHTTPRouteRedirectPath", "MeshHTTPRouteRedirectPort", "MeshHTTPRouteSchemeRedirect",
  "MeshHTTPRouteNamedRule", "MeshHTTPRouteWeight", "MeshFrontend", "MeshFrontendHostname", "MeshPorts", "MeshConsumerRoute", "MeshGRPCRouteWeight", "MeshGRPCRouteRequestHeaderModifier",
];

const read = (file: string): string => readFileSync(join(import.meta.dirname, file), "utf8");

describe("Gateway API conformance: what is claimed", () => {
  const unsupported = JSON.parse(read("unsupported.json")) as Readonly<Record<keyof typeof PROFILES, readonly string[]>>;
  const claimed = classStatus({ kind: "GatewayClass", metadata: { name: "istio-waypoint" }, spec: { controllerName: "istio.io/mesh-controller" } })?.features ?? [];

  for (const [profile, features] of Object.entries(PROFILES) as [keyof typeof PROFILES, readonly string[]][])
    it(`${profile}: every feature is claimed or in unsupported.json, none is both`, () => {
      assert.deepEqual(features.filter((f) => claimed.includes(f) === unsupported[profile].includes(f)), []);
      assert.deepEqual(unsupported[profile].filter((f) => !features.includes(f)), [], "unsupported.json names features that are none");
    });

  it("every case of the suite is a test of ours", () => {
    const tests = `${read("mesh-http.test.ts")}${read("mesh-grpc.test.ts")}`;
    assert.deepEqual(CASES.filter((name) => !tests.includes(`it("${name}"`)), []);
    assert.match(tests, /MeshHTTPRoute\$\{status\}Redirect/);
  });
});
