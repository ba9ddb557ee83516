// Owns the defaults of CustomResourceDefinitions: names, conversion, and the finalizer-free start of their status.
import { asObject, asObjects, asString, asStrings, ensureObject, setDefault, type JsonObject } from "../json.ts";

export function defaultCrd(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  const names = ensureObject(spec, "names");
  const kind = asString(names["kind"]);
  setDefault(names, "singular", kind.toLowerCase());
  setDefault(names, "listKind", `${kind}List`);
  setDefault(ensureObject(spec, "conversion"), "strategy", "None");
  for (const version of asObjects(spec["versions"])) {
    const scale = asObject(version["subresources"])["scale"];
    if (scale !== undefined && scale !== null) setDefault(asObject(scale), "statusReplicasPath", "");
  }
}

/** Status starts with the versions that may be stored; the CRD's keeper adds names and conditions. */
export function prepareCrd(object: JsonObject, before: JsonObject | null): void {
  const versions = asObjects(asObject(object["spec"])["versions"]);
  const storage = versions.filter((version) => version["storage"] === true).map((version) => asString(version["name"]));
  if (before === null) {
    object["status"] = { acceptedNames: { plural: "", kind: "" }, conditions: null, storedVersions: storage };
    return;
  }
  const status = ensureObject(object, "status");
  const stored = Array.isArray(status["storedVersions"]) ? status["storedVersions"] : [];
  for (const name of storage) if (!stored.includes(name)) status["storedVersions"] = [...stored, name];
}

export const CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io";

/** A deleted CRD stays until its objects are gone. */
export function addCleanup(object: JsonObject): void {
  const metadata = asObject(object["metadata"]);
  const finalizers = asStrings(metadata["finalizers"]);
  if (!finalizers.includes(CLEANUP_FINALIZER)) metadata["finalizers"] = [...finalizers, CLEANUP_FINALIZER];
}
