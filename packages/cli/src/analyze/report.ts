// Owns what `ambit analyze` finds, with files and lines, and how one finding reads. Pure.
import { analyzeObjects, DEFAULT_SETTINGS, FINDINGS, type Finding, type Level } from "@ambit/istiod-lite/pure";
import type { KubeObject, ManifestDocument, ManifestProblem } from "@ambit/kube";

/** Fields as istioctl's, so that what reads its JSON reads ours. */
export interface Row {
  readonly code: string;
  readonly name: string;
  readonly level: Level;
  /** `Kind namespace/name`; empty for text that is no object. */
  readonly origin: string;
  /** `file:line`; empty for objects of a cluster. */
  readonly reference: string;
  readonly message: string;
}

/** In the order of the files and their lines. */
export function reportOnFiles(documents: readonly ManifestDocument[], problems: readonly ManifestProblem[]): Row[] {
  const files = [...documents, ...problems].map((d) => d.file);
  const found = problems.map((p): { file: string; line: number; row: Row } => ({ file: p.file, line: p.line, row: { ...FINDINGS.invalid, origin: "", reference: `${p.file}:${p.line}`, message: p.message } }));
  for (const f of analyzeObjects(documents.map((d) => d.object), DEFAULT_SETTINGS)) {
    const d = documents[f.index];
    const [file, line] = d === undefined ? ["", 0] : [d.file, d.lineOf(f.path)];
    found.push({ file, line, row: rowOf(f, `${file}:${line}`) });
  }
  return found.sort((a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line).map((f) => f.row);
}

export const reportOnCluster = (objects: readonly KubeObject[]): Row[] => analyzeObjects(objects, DEFAULT_SETTINGS).map((f) => rowOf(f, ""));

const rowOf = (f: Finding, reference: string): Row => ({ code: f.code, name: f.name, level: f.level, origin: f.object, reference, message: f.message });

/** `shop.yaml:12: Error [IST0106] AuthorizationPolicy shop/deny: …` */
export const lineOf = (r: Row): string => `${r.reference === "" ? "" : `${r.reference}: `}${r.level} [${r.code}]${r.origin === "" ? "" : ` ${r.origin}`}: ${r.message}`;
