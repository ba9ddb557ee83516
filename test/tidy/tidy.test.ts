// The repository lints itself: what no other tool checks, and what docs/ claims about the code.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { load } from "js-yaml";
import { FAULT_CODES } from "@ambit/core";
import { renderErrors, renderOperations } from "../../scripts/gen-docs.ts";
import { CODE, hits, packageNames, ROOT, TEST, tree, type SourceFile } from "./tree.fixture.ts";

const LINES_MAX = 500;
const none = (problems: readonly string[]): void => assert.deepEqual(problems, []);
const code = (): SourceFile[] => tree().filter((f) => CODE.test(f.path));
const markdown = (): SourceFile[] => tree().filter((f) => f.path.endsWith(".md"));
const production = (): SourceFile[] => code().filter((f) => f.path.startsWith("packages/") && !TEST.test(f.path));
const textOf = (path: string): string => tree().find((f) => f.path === path)?.text ?? assert.fail(`${path} is missing`);
const exists = (path: string): boolean => existsSync(join(ROOT, path));
const packageOf = (path: string): string => /^packages\/[^/]+/.exec(path)?.[0] ?? "";
/** `{a,b}` as every alternative. */
const alternatives = (path: string): string[] => {
  const [all, before = "", list = "", after = ""] = /^([^{]*)\{([^}]*)\}(.*)$/.exec(path) ?? [];
  return all === undefined ? [path] : list.split(",").flatMap((item) => alternatives(`${before}${item}${after}`));
};

describe("tidy: words and marks", () => {
  it("words that the vocabulary bans stay out of packages", () => {
    const words = [...textOf("docs/vocabulary.md").matchAll(/([a-z][a-z -]*)†/g)].map((m) => (m[1] ?? "").trim()).filter((w) => w !== "marked");
    assert.ok(words.length >= 8, `the vocabulary bans only ${words.join(", ")}`);
    const anyOf = words.map((w) => w.replaceAll(" ", "[ _-]?")).join("|");
    const found = hits(tree().filter((f) => /^packages\/[^/]+\/src\//.test(f.path) && !f.path.includes("/testdata/") && CODE.test(f.path)), new RegExp(`(?<![A-Za-z])(?:${anyOf})(?![a-z])`, "i"));
    // Names of Envoy's log operators and span tags are promised as they are (ADR 0011).
    none(found.filter((hit) => !/UPSTREAM_CLUSTER|upstream_cluster/.test(hit)));
  });
  it("nothing is left to do without an issue's number, and no test runs alone", () => {
    none(hits(code().filter((f) => !f.path.startsWith("test/tidy/")), /\b(TODO|FIXME|XXX)\b(?!\(#\d+\))|\b(it|describe)\.only\(/));
  });
  it("files end before they do two things", () => {
    none(code().filter((f) => f.lines.length > LINES_MAX + 1).map((f) => `${f.path}: ${f.lines.length - 1} lines`));
  });
  it("every file of code says what it owns", () => {
    none(production().filter((f) => f.path.includes("/src/") && !/^(#!.*\n)?\/\//.test(f.text)).map((f) => f.path));
  });
  it("no path of a developer's machine, no registry", () => {
    const files = tree().filter((f) => !f.path.startsWith("test/tidy/"));
    // GKE's nodes have their CNI plugins in /home/kubernetes.
    none(hits(files, /(?<![\w.$}/])\/(work|home\/(?!kubernetes\/bin)\w+|Users\/\w+|root)\/[\w.-]+/));
    none(hits(files, /https?:\/\/[^\s"'/]*(?:registry|npmjs|artifactory|nexus|verdaccio|jfrog)[^\s"']*/i));
  });
});

describe("tidy: pure code", () => {
  const PURE = /^packages\/(core|collections|http)\/src\/|^packages\/[^/]+\/src\/(?:.*\/)?(?:plan|model|collections|protocol|rules|codec)\//;
  it("has no clock, no chance, no timer, nothing asynchronous", () => {
    const files = production().filter((f) => PURE.test(f.path));
    assert.ok(files.length > 50, `only ${files.length} pure files found`);
    const comment = (line: string) => /^\s*(\/\/|\*|\/\*)/.test(line);
    none(hits(files, /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bcrypto\.|\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\basync\b|\bawait\b|\bPromise[<.]|from "node:/, comment));
  });
});

describe("tidy: documents", () => {
  it("every path in docs/where.md exists", () => {
    const paths = [...textOf("docs/where.md").matchAll(/^\| .*$/gm)].flatMap(([row]) => [...row.matchAll(/`([^`\s]+\/[^`\s]*)`/g)].map((m) => m[1] ?? ""));
    assert.ok(paths.length > 30, `only ${paths.length} paths`);
    none(paths.flatMap(alternatives).filter((p) => !exists(p)));
  });
  it("every link in a document leads somewhere", () => {
    none(markdown().flatMap((f) => [...f.text.matchAll(/\]\(([^)\s]+)\)/g)].map((m) => m[1] ?? "")
      .filter((target) => !/^(https?:|mailto:|#)/.test(target) && !exists(join(dirname(f.path), target.split("#")[0] ?? "")))
      .map((target) => `${f.path}: ${target}`)));
  });
  it("paths that documents name in code exist", () => {
    const named = /`((?:packages|docs|scripts|test|manifests)\/[\w./{},-]+)`/g;
    none(markdown().flatMap((f) => [...f.text.matchAll(named)].flatMap((m) => alternatives(m[1] ?? ""))
      .filter((p) => !exists(p) && !exists(join(packageOf(f.path), p))).map((p) => `${f.path}: ${p}`)));
  });
  it("docs/errors.md and the tables of docs/operations.md are current (pnpm gen:docs)", () => {
    assert.equal(textOf("docs/errors.md"), renderErrors());
    assert.equal(textOf("docs/operations.md"), renderOperations(textOf("docs/operations.md")));
  });
  it("every environment variable that is read is documented", () => {
    const inPrograms = /(?:\b(?:process\.env|env|environment|source)(?:\.|\[")|\benv\.(?:string|integer|boolean|duration)\(")([A-Z][A-Z0-9_]+)\b/g;
    const inTests = /\bprocess\.env(?:\.|\[")(?!(?:HOME|PATH)\b)([A-Z][A-Z0-9_]+)\b/g;
    const undocumented = (files: readonly SourceFile[], read: RegExp, document: string): string[] => {
      const text = textOf(document);
      return files.flatMap((f) => [...f.text.matchAll(read)].map((m) => m[1] ?? "").filter((name) => !text.includes(`\`${name}\``)).map((name) => `${document} lacks ${name} (${f.path})`));
    };
    const runs = (f: SourceFile) => f.path.startsWith("scripts/") || (f.path.startsWith("packages/") && !TEST.test(f.path));
    none(undocumented(code().filter(runs), inPrograms, "docs/operations.md"));
    none(undocumented(code().filter((f) => !runs(f) && !f.path.includes("/programs/")), inTests, "docs/testing.md"));
  });
  it("every metric is documented", () => {
    const text = textOf("docs/operations.md");
    const declared = production().flatMap((f) => [...f.text.matchAll(/(?:counter|gauge|histogram|#count)\("(\w+_\w+)"/g)].map((m) => m[1] ?? ""));
    assert.ok(declared.length > 20);
    none([...new Set(declared)].filter((name) => !text.includes(`\`${name}\``)));
  });
  it("long documents stay short enough to be read", () => {
    const limits: readonly (readonly [RegExp, number])[] = [[/^README\.md$/, 120], [/^docs\/architecture\.md$/, 250], [/^docs\/(testing|style)\.md$/, 150], [/^docs\/adr\//, 60], [/^packages\/[^/]+\/README\.md$/, 70]];
    none(markdown().flatMap((f) => limits.filter(([which, most]) => which.test(f.path) && f.lines.length > most + 1).map(([, most]) => `${f.path}: ${f.lines.length - 1} lines, at most ${most}`)));
  });
});

describe("tidy: packages", () => {
  it("every package has a README, and a package.json that says enough", () => {
    none(packageNames().flatMap((name) => {
      const problems = exists(`packages/${name}/README.md`) ? [] : [`packages/${name}/README.md is missing`];
      const manifest = JSON.parse(textOf(`packages/${name}/package.json`)) as Record<string, unknown>;
      if (manifest["name"] !== `@ambit/${name}`) problems.push(`packages/${name}/package.json: name`);
      for (const field of ["version", "license", "type", "description", "private"]) if (manifest[field] === undefined) problems.push(`packages/${name}/package.json: ${field}`);
      return problems;
    }));
  });
  it("every entry of the catalog has its line in docs/dependencies.md, and nothing else has", () => {
    const { catalog } = load(textOf("pnpm-workspace.yaml")) as { catalog: Record<string, string> };
    const lines = [...textOf("docs/dependencies.md").matchAll(/^\| `([^`]+)`/gm)].map((m) => m[1] ?? "");
    assert.deepEqual(lines.toSorted(), Object.keys(catalog).toSorted());
  });
  it("every version is pinned, once, in the catalog", () => {
    const { catalog } = load(textOf("pnpm-workspace.yaml")) as { catalog: Record<string, string> };
    none(Object.entries(catalog).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version)).map(([name, version]) => `${name}: ${version}`));
    none(tree().filter((f) => /(^|\/)package\.json$/.test(f.path)).flatMap((f) => {
      const manifest = JSON.parse(f.text) as Record<string, Record<string, string> | undefined>;
      return ["dependencies", "devDependencies", "peerDependencies"].flatMap((kind) => Object.entries(manifest[kind] ?? {})
        .filter(([, version]) => version !== "catalog:" && version !== "workspace:*").map(([name, version]) => `${f.path}: ${name} ${version}`));
    }));
  });
  it("every file that a script of package.json names exists", () => {
    const { scripts } = JSON.parse(textOf("package.json")) as { scripts: Record<string, string> };
    none(Object.entries(scripts).flatMap(([name, command]) => (command.match(/\b(?:packages|scripts|test)\/[\w./-]+\.(?:ts|mjs)/g) ?? []).filter((p) => !exists(p)).map((p) => `${name}: ${p}`)));
  });
  it("every fault code appears in a test", () => {
    const tests = code().filter((f) => f.path.endsWith(".test.ts") && !f.path.startsWith("test/tidy/")).map((f) => f.text).join("\n");
    none(FAULT_CODES.filter((name) => !new RegExp(`(?<![\\w-])${name}(?![\\w-])`).test(tests)));
  });
});
