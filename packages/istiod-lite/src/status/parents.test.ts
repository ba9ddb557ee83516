import assert from "node:assert/strict";
import type { DesiredParent } from "./conditions.ts";
import { CONTROLLER, parentsToApply } from "./parents.ts";

const NOW = "2026-06-01T00:00:00Z";
const THEN = "2026-01-01T00:00:00Z";
const ref = { group: "", kind: "Service", name: "web" };
const want = (status: "True" | "False" = "True", parentRef: Record<string, unknown> = ref): DesiredParent =>
  ({ parentRef, conditions: [{ type: "Accepted", status, reason: "Accepted", message: "m" }] });
const condition = (over: object = {}) => ({ type: "Accepted", status: "True", reason: "Accepted", message: "m", observedGeneration: 3, lastTransitionTime: THEN, ...over });
const mine = (conditions: object[] = [condition()], parentRef: object = ref) => ({ parentRef, controllerName: CONTROLLER, conditions });
const reversed = (o: object): Record<string, unknown> => Object.fromEntries(Object.entries(o).reverse());
const foreign = { parentRef: { name: "ingress" }, controllerName: "example.com/other", conditions: [condition()] };
const other = { type: "Their", status: "True", reason: "R", message: "", lastTransitionTime: THEN };

describe("the parents of a route's status", () => {
  const cases: [string, DesiredParent[], Record<string, unknown>[], Record<string, unknown>[] | "as it stands"][] = [
    ["nothing stands", [want()], [], [mine([condition({ lastTransitionTime: NOW })])]],
    ["it stands already", [want()], [mine()], "as it stands"],
    ["fields came back in another order", [want()], [reversed(mine([reversed(condition())], reversed(ref)))], "as it stands"],
    ["others' entries keep their places", [want("False")], [foreign, mine(), foreign], [foreign, mine([condition({ status: "False", lastTransitionTime: NOW })]), foreign]],
    ["others' conditions in ours stay", [want()], [mine([other, condition({ observedGeneration: 2 })])], [mine([other, condition()])]],
    ["a stale entry of ours goes", [want()], [mine([condition()], { name: "gone" }), mine()], [mine()]],
    ["a stale condition of ours goes", [want()], [mine([condition(), condition({ type: "PartiallyInvalid" })])], [mine()]],
    ["no parents of ours any more", [], [foreign, mine()], [foreign]],
    ["never over a newer generation", [want("False")], [mine([condition({ observedGeneration: 4 })])], "as it stands"],
    ["a default that was filled in is the same reference", [want("True", { name: "x" })], [mine([condition()], { group: "gateway.networking.k8s.io", kind: "Gateway", name: "x" })], [mine([condition()], { name: "x" })]],
  ];
  for (const [name, wanted, standing, expected] of cases)
    it(name, () => assert.deepEqual(parentsToApply(wanted, standing, 3, NOW), expected === "as it stands" ? undefined : expected));

  it("are never more than the API allows", () => {
    const full = Array.from({ length: 32 }, () => foreign);
    assert.equal(parentsToApply([want()], full, 3, NOW), undefined);
  });
});
