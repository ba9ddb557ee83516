import assert from "node:assert/strict";
import { readConfig } from "./config.ts";

describe("the agent's configuration", () => {
  const read = (more: Readonly<Record<string, string>>) => readConfig({ NODE_NAME: "n", ...more });
  for (const [name, value] of [["AMBIENT_ENABLE_AWS_BRANCH_ENI_PROBE", "true"], ["REPAIR_ENABLED", "true"], ["AMBIENT_ENABLED", "false"], ["ALLOW_SWITCH_TO_HOST_NS", "true"]] as const)
    it(`${name}=${value} is refused, not ignored`, () => assert.throws(() => read({ [name]: value }), { message: `bad configuration:\n  ${name}=${value} is not supported` }));
  it("a configuration of our own has Istio's name, or one of either variable", () => {
    assert.deepEqual([read({}).owned, read({}).ownedName], [false, "02-istio-cni.conflist"]);
    assert.equal(read({ ISTIO_OWNED_CNI_CONFIG_FILENAME: "01-mine.conflist" }).ownedName, "01-mine.conflist");
    assert.equal(read({ ISTIO_OWNED_CNI_CONF_FILENAME: "01-chart.conflist", ISTIO_OWNED_CNI_CONFIG: "true" }).ownedName, "01-chart.conflist");
    assert.throws(() => read({ ISTIO_OWNED_CNI_CONFIG: "true", CHAINED_CNI_PLUGIN: "false" }), /needs CHAINED_CNI_PLUGIN=true/);
    for (const bad of ["02.conf", "../up.conflist", "a b.conflist"]) assert.throws(() => read({ ISTIO_OWNED_CNI_CONFIG_FILENAME: bad }), /not the name of a \.conflist/);
  });
});
