// Owns what the server adds to namespaces: their name as a label.
import { asString, ensureObject, type JsonObject } from "../json.ts";

export function admitNamespace(object: JsonObject): void {
  const metadata = ensureObject(object, "metadata");
  ensureObject(metadata, "labels")["kubernetes.io/metadata.name"] = asString(metadata["name"]);
}
