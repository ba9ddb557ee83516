import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseManifests } from "@ambit/kube";
import { explainRequest } from "@ambit/waypoint/pure";
import { modelOf } from "./model.ts";
import { findDestination, findSource } from "./question.ts";
import { destinationText, parseRequest, requestFacts, waypointFor } from "./request.ts";

const { state, waypoints, problems } = modelOf(parseManifests(readFileSync(join(import.meta.dirname, "testdata/waypoint.yaml"), "utf8"), "waypoint.yaml"));
const view = state.view();

function ask(method: string, url: string, ...headers: string[]) {
  const asked = parseRequest(method, url, headers);
  assert.ok(asked.ok, asked.ok ? "" : asked.error);
  const source = findSource(view, "shop/client");
  const destination = findDestination(view, destinationText(asked.value), "shop", "");
  assert.ok(source.ok && destination.ok);
  const through = waypointFor(waypoints, view, destination.value, "shop");
  assert.ok(through !== undefined, "a waypoint has the service");
  return explainRequest({ config: through.config, view, facts: requestFacts(asked.value, source.value, through.service, destination.value, 0), network: "", random: () => 0 });
}

describe("ambit why, of a request", () => {
  it("reads the sample without a problem", () => assert.deepEqual(problems, []));

  it("names the route, what is done on the way, and what was passed over", () => {
    const answer = ask("GET", "http://catalog:8080/items");
    assert.equal(answer.outcome, "allowed");
    assert.match(JSON.stringify(answer.steps), /HTTPRoute shop\/catalog rule 1/);
    assert.match(answer.effects.join(), /times out after 2000 ms/);
    assert.match(answer.passedOver.join(), /rule 0 match 0 wants header x-a/);
  });

  it("takes headers into account", () => assert.match(JSON.stringify(ask("GET", "http://catalog:8080/items", "X-A: b").steps), /HTTPRoute shop\/catalog rule 0/));

  it("names the policy, rule and field that deny", () => {
    const answer = ask("POST", "http://catalog:8080/items");
    assert.equal(answer.outcome, "denied");
    assert.match(answer.policy.join("\n"), /denied by shop\/read-only rule 0 \(methods\)/);
  });
});

describe("a request that a person types", () => {
  for (const [method, url, headers, why] of [
    ["GE T", "http://a/", [], /is not a method/], ["GET", "http://[", [], /is not a URL/], ["GET", "https://a/", [], /passes it unread/], ["GET", "http://a/", ["x"], /name:value/],
  ] as const)
    it(`is refused: ${method} ${url} ${headers.join()}`, () => {
      const parsed = parseRequest(method, url, headers);
      assert.ok(!parsed.ok);
      assert.match(parsed.error, why);
    });

  it("needs no scheme, and of gRPC knows the content type", () => {
    const plain = parseRequest("GET", "catalog.shop:8080/items?a=b", []);
    assert.ok(plain.ok);
    assert.equal(destinationText(plain.value), "catalog.shop:8080");
    const grpc = parseRequest("POST", "grpc://catalog/a.B/C", []);
    assert.ok(grpc.ok);
    assert.deepEqual([destinationText(grpc.value), grpc.value.fields], ["catalog:80", ["content-type", "application/grpc"]]);
  });
});
