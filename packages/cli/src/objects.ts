// Owns where the objects of a question come from: YAML files and folders, standard input, or a cluster.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { isNotFound, readDocuments, type KubeObject, type ManifestDocument, type ManifestProblem } from "@ambit/kube";
import { SOURCE_KINDS } from "@ambit/istiod-lite/pure";
import { connect, type ClusterOptions } from "./cluster.ts";
import { UsageError } from "./usage-error.ts";

const STDIN = 0;
const isManifest = (name: string): boolean => /\.(ya?ml|json)$/.test(name);

/** `-` is standard input; a folder stands for the YAML and JSON files below it. */
export function documentsIn(paths: readonly string[]): { readonly documents: readonly ManifestDocument[]; readonly problems: readonly ManifestProblem[] } {
  const documents: ManifestDocument[] = [];
  const problems: ManifestProblem[] = [];
  for (const file of paths.flatMap(filesAt)) {
    const read = readDocuments(file === "-" ? readFileSync(STDIN, "utf8") : readFileSync(file, "utf8"), file);
    documents.push(...read.documents);
    problems.push(...read.problems);
  }
  return { documents, problems };
}

function filesAt(path: string): string[] {
  if (path === "-") return [path];
  try {
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path, { recursive: true, encoding: "utf8" }).filter((f) => !f.split("/").some((part) => part.startsWith(".")) && isManifest(f)).sort().map((f) => join(path, f))
      .filter((f) => statSync(f).isFile());
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** Every object that shapes the mesh, as the control plane reads them. */
export async function objectsOfCluster(options: ClusterOptions): Promise<KubeObject[]> {
  const client = connect(options);
  try {
    const lists = await Promise.all(Object.values(SOURCE_KINDS).map(async (kind) => {
      const { items } = await client.list(kind).catch((error: unknown) => {
        // A CRD that is not installed has no objects.
        if (isNotFound(error)) return { items: [] as KubeObject[] };
        throw error;
      });
      return items.map((item) => ({ ...item, kind: kind.kind, apiVersion: kind.group === "" ? kind.version : `${kind.group}/${kind.version}` }));
    }));
    return lists.flat();
  } finally {
    client.close();
  }
}
