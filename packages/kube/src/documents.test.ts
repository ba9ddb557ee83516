import assert from "node:assert/strict";
import fc from "fast-check";
import { readDocuments } from "./documents.ts";

const TEXT = `# a comment
apiVersion: v1
kind: Service
metadata:
  name: web
  labels: {app: web, istio.io/use-waypoint: w}
spec:
  ports:
    - port: 80
      name: http

    - {port: 81, name: &n other}
---
---
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Pod
    metadata: {name: p}
    spec:
      containers:
        - name: *n
`;

describe("documents with their lines", () => {
  const cases: readonly (readonly [number, string, number])[] = [
    [0, "", 2], [0, "metadata", 4], [0, "metadata.name", 5], [0, "metadata.labels.istio.io/use-waypoint", 6], [0, "spec.ports[0]", 9], [0, "spec.ports[0].name", 10],
    [0, "spec.ports[1].port", 12], [0, "spec.ports[1].protocol", 12], [0, "spec.ports[7].port", 8], [0, "spec.selector.app", 7], [0, "status", 2],
  ];
  for (const [document, path, line] of cases)
    it(`document ${document} "${path}" is at ${line}`, () => assert.equal(readDocuments(TEXT.replace("*n", "n"), "f").documents[document]?.lineOf(path), line));

  it("opens lists, and counts their lines in the file", () => {
    const { documents, problems } = readDocuments(TEXT.replace("*n", "n"), "f.yaml");
    assert.deepEqual(problems, []);
    assert.deepEqual(documents.map((d) => [d.object.kind, d.line, d.file]), [["Service", 2, "f.yaml"], ["Pod", 18, "f.yaml"]]);
    assert.equal(documents[1]?.lineOf("spec.containers[0].name"), 23);
  });

  const broken: readonly (readonly [string, number, RegExp])[] = [
    ["a: 1\n b: 2\n", 2, /indentation/], ["kind: A\nkind: B\n", 2, /duplicated/], ["a: 1\n---\nb: *nobody\n", 3, /alias|anchor/i],
    ["- 1\n", 1, /not a Kubernetes object/], ["\n\napiVersion: v1\n", 3, /kind/], ["apiVersion: v1\nkind: Pod\nmetadata: {}\n", 1, /Pod has no metadata.name/], ["just text", 1, /not a Kubernetes object/],
    [`${"[".repeat(200)}`, 1, /depth|nest/i],
  ];
  for (const [text, line, message] of broken)
    it(`${JSON.stringify(text.slice(0, 30))} is refused at its line`, () => {
      const { documents, problems: [first] } = readDocuments(text, "f");
      assert.equal(documents.length, 0);
      assert.equal(first?.line, line);
      assert.match(first?.message ?? "", message);
    });

  it("never throws, and every path has a line of the text", () => {
    const piece = fc.constantFrom("a", ":", " ", "\n", "- ", "  ", "{", "}", "[", "]", "---\n", "&x ", "*x", "? ", "|\n", "\"", "'", "!!str ", "#", "apiVersion: v1\n", "kind: K\n", "metadata: {name: n}\n", "\t", "<<: ");
    fc.assert(fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const text = pieces.join("");
      const { documents, problems } = readDocuments(text, "f");
      const count = text.split("\n").length;
      for (const p of problems) assert.ok(p.line >= 1 && p.line <= count, `${p.line} of ${count}`);
      for (const d of documents) assert.ok(d.lineOf("metadata.name") <= count);
    }), { numRuns: 500 });
  });
});
