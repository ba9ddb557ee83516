import assert from "node:assert/strict";
import fc from "fast-check";
import { TemplateError } from "./error.ts";
import { evaluateTemplate } from "./evaluate.ts";
import { lexTemplate } from "./lex.ts";
import { parseTemplate } from "./parse.ts";
import { toJson, toYaml, type Value } from "./value.ts";
import { load } from "js-yaml";

const DATA = { a: "x", n: 3, yes: true, no: false, empty: "", zero: 0, none: [], list: ["p", "q"], map: { b: "2", a: "1" }, deep: { er: { est: "here" } } };

function run(source: string, data: Value = DATA): string {
  const t = parseTemplate("t.yaml", source);
  return evaluateTemplate(t, data, new Map([...t.defines].map(([name, nodes]) => [name, { nodes, file: t.file }])));
}

const RENDERS: readonly (readonly [what: string, source: string, expected: string])[] = [
  ["text alone", "a: {b}\n", "a: {b}\n"],
  ["a field", "{{ .a }}{{ .deep.er.est }}", "xhere"],
  ["the root from within", "{{ with .deep }}{{ $.a }}{{ .er.est }}{{ end }}", "xhere"],
  ["trims before and after", "a \n {{- .a -}} \n b", "axb"],
  ["a comment, trimming", "a\n{{- /* {{ no }} */ -}}\nb", "ab"],
  ["if, else if, else", "{{ if .no }}1{{ else if .zero }}2{{ else if .a }}3{{ else }}4{{ end }}", "3"],
  ["what is empty is false", "{{ if .empty }}1{{ end }}{{ if .none }}2{{ end }}{{ if .missing }}3{{ end }}", ""],
  ["with moves the dot, else does not", "{{ with .missing }}no{{ else }}{{ .a }}{{ end }}", "x"],
  ["range over a list", "{{ range .list }}[{{ . }}]{{ end }}", "[p][q]"],
  ["range over a map, sorted", "{{ range $k, $v := .map }}{{ $k }}={{ $v }};{{ end }}", "a=1;b=2;"],
  ["range with one variable", "{{ range $v := .list }}{{ $v }}{{ end }}", "pq"],
  ["a pipeline's last argument", '{{ .missing | default "d" }}{{ "v" | default "d" }}', "dv"],
  ["parentheses", '{{ if and (eq .a "x") (not .no) (gt (int .n) 2) }}ok{{ end }}', "ok"],
  ["or gives the first that is true", '{{ or .empty .a "z" }}', "x"],
  ["define and include", '{{ define "f" }}<{{ .x }}>{{ end }}{{ include "f" (dict "x" .a) | quote }}', '"<x>"'],
  ["quote", '{{ "a\\"b\\n" | quote }}{{ .n | quote }}{{ .yes | quote }}', '"a\\"b\\n""3""true"'],
  ["printf and join", '{{ printf "%s-%s" .a (join "," .list) }}', "x-p,q"],
  ["nindent", '{{ "a\nb" | nindent 2 }}'.replace("\n", "\\n"), "\n  a\n  b"],
  ["toJson escapes as Go does", '{{ dict "k" "<&>" | toJson }}', '{"k":"\\u003c\\u0026\\u003e"}'],
];

const REFUSES: readonly (readonly [what: string, source: string, says: RegExp])[] = [
  ["a value that is not there", "a\n{{ .missing }}", /t\.yaml:2: there is no value to print/],
  ["a field of what is not there", "{{ .missing.b }}", /t\.yaml:1: \.missing has no fields, so no \.b/],
  ["a field of a string", "{{ .a.b }}", /\.a has no fields/],
  ["a list that is printed", "{{ .list }}", /toYaml or toJson/],
  ["a number Go writes as 1e+06", "{{ 1000000 }}", /would not be printed as it is/],
  ["an unknown function", "\n\n{{ lookup .a }}", /t\.yaml:3: the function lookup is not in the part/],
  ["a keyword we do not read", '{{ template "f" . }}', /"template" is not in the part/],
  ["an assignment", "{{ $x := .a }}", /":=" is not understood here|only a function takes/],
  ["no end", "\n{{ if .a }}", /t\.yaml:2: "if" has no end/],
  ["an end too many", "{{ end }}", /belongs to nothing/],
  ["else twice", "{{ if .a }}{{ else }}{{ else }}{{ end }}", /needs an end here/],
  ["an action that does not end", "x {{ .a", /an action does not end/],
  ["a string that does not end", '{{ "a }}', /a string does not end/],
  ["a comment that does not end", "{{/* a }}", /a comment does not end/],
  ["an include of nothing", '{{ include "g" . }}', /no template "g" is defined/],
  ["an include of itself", '{{ define "f" }}{{ include "f" . }}{{ end }}{{ include "f" . }}', /more than 30 deep/],
  ["a name defined twice", '{{ define "f" }}{{ end }}{{ define "f" }}{{ end }}', /defined twice/],
  ["a comparison of two types", '{{ if eq .n "3" }}{{ end }}', /can be compared/],
  ["an unknown variable", "{{ $x }}", /no variable \$x/],
  ["a function as an argument", "{{ not int .n }}", /int needs parentheses/],
  ["a value after |", "{{ .a | .b }}", /must be a function/],
  ["an inherited name", "{{ .constructor }}", /there is no value to print/],
  ["a function of every object", "{{ constructor .a }}", /the function constructor is not/],
  ["too many parentheses", `{{ ${"(".repeat(60)}1${")".repeat(60)} }}`, /more than 50 deep/],
  ["too many blocks", `${"{{ if .a }}".repeat(60)}${"{{ end }}".repeat(60)}`, /more than 50 deep/],
  ["a range over text", "{{ range .a }}{{ end }}", /a range goes over/],
  ["a character Go quotes otherwise", '{{ .c | quote }}', /cannot be quoted/],
];

describe("templates", () => {
  for (const [what, source, expected] of RENDERS) it(what, () => assert.equal(run(source), expected));
  for (const [what, source, says] of REFUSES) it(`refuse ${what}`, () => assert.throws(() => run(source, { ...DATA, c: "a\u0007" }), (e) => e instanceof TemplateError && says.test(e.message)));

  it("stop when too much comes out", () => {
    const many = Array.from({ length: 2100 }, () => "x".repeat(2000));
    assert.throws(() => run("{{ range .m }}{{ . }}{{ end }}", { m: many }), /more than 4194304 characters/);
  });

  it("end every text in a template or a TemplateError", () => {
    const bits = fc.constantFrom("{{", "}}", "{{-", " -}}", "if ", "else", "end", "with ", "range ", "define ", '"f"', ".a", "$", "$x", ":=", "|", "(", ")", ",", "include ", "quote", "\n", " ", "/*", "*/", "1", "x", "\\", '"', "\u0000", "not ", "toYaml ");
    fc.assert(fc.property(fc.array(bits, { maxLength: 40 }).map((b) => b.join("")), (source) => {
      try {
        run(source);
      } catch (error) {
        if (!(error instanceof TemplateError)) throw error;
      }
    }), { numRuns: 3000 });
    fc.assert(fc.property(fc.string({ maxLength: 200, unit: "binary" }), (source) => {
      try {
        lexTemplate("f", source);
      } catch (error) {
        if (!(error instanceof TemplateError)) throw error;
      }
    }), { numRuns: 2000 });
  });

  it("write YAML and JSON that are read back as they were", () => {
    const values = fc.letrec((tie) => ({ v: fc.oneof({ maxDepth: 4 }, fc.string({ unit: "binary" }).filter((s) => !/[\ud800-\udfff]/u.test(s)), fc.constantFrom("yes", "no", "null", "1", "0x1", "~", "", "- a", "a: b", "#", "a\nb"), fc.integer(), fc.boolean(), fc.constant(null), fc.array(tie("v"), { maxLength: 4 }), fc.dictionary(fc.string({ maxLength: 5 }).filter((k) => k !== "__proto__"), tie("v"), { maxKeys: 4 })) })).v;
    fc.assert(fc.property(values, (v) => {
      const plain = JSON.parse(JSON.stringify(v)) as Value;
      assert.deepEqual(load(`v:\n  ${toYaml(plain).replaceAll("\n", "\n  ")}\n`), { v: plain });
      assert.deepEqual(JSON.parse(toJson(plain)), plain);
    }), { numRuns: 500 });
  });
});
