import assert from "node:assert/strict";
import { render } from "./output.ts";

const VIEW = { value: [{ name: "a", ready: true }], columns: ["NAME", "READY"], rows: [["a", "yes"], ["long-name", "no"]] };

describe("how the CLI prints", () => {
  it("a table without borders, columns aligned, no trailing space", () => assert.equal(render(VIEW, "table"), "NAME        READY\na           yes\nlong-name   no\n"));
  it("the whole value as JSON and YAML", () => {
    assert.equal(render(VIEW, "json"), '[\n  {\n    "name": "a",\n    "ready": true\n  }\n]\n');
    assert.equal(render(VIEW, "yaml"), "- name: a\n  ready: true\n");
  });
  it("says so when there is nothing", () => assert.deepEqual([render({ ...VIEW, rows: [] }, "table"), render({ ...VIEW, rows: [], empty: "no lab" }, "table")], ["nothing found\n", "no lab\n"]));
});
