import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readDocuments } from "@ambit/kube";
import { checkGolden, goldenCases } from "@ambit/testkit";
import { lineOf, reportOnFiles } from "./report.ts";

const FOLDER = join(import.meta.dirname, "testdata");

describe("what ambit analyze says", () => {
  for (const name of goldenCases(FOLDER))
    it(name, () => checkGolden(FOLDER, name, (input) => {
      // Read here as text, because lines are what this is about.
      input.take(() => true);
      const { documents, problems } = readDocuments(readFileSync(join(FOLDER, name, "input.yaml"), "utf8"), "input.yaml");
      return reportOnFiles(documents, problems).map(lineOf);
    }));

  it("names the line in text that is not YAML", () => {
    const { documents, problems } = readDocuments("kind: A\n  b: [\n", "x.yaml");
    assert.match(reportOnFiles(documents, problems).map(lineOf).join(), /^x\.yaml:2: Error \[IST0106\]: /);
  });
});
