// Owns content negotiation: which of JSON, YAML, Table and PartialObjectMetadata a client asked for.
import { ApiError, notAcceptable } from "../status.ts";

export type Shape = "plain" | "Table" | "PartialObjectMetadata" | "PartialObjectMetadataList";

export interface Negotiated {
  readonly encoding: "json" | "yaml";
  readonly shape: Shape;
  /** Version of meta.k8s.io for shapes. */
  readonly metaVersion: string;
}

const PLAIN: Negotiated = { encoding: "json", shape: "plain", metaVersion: "v1" };
const OFFERED = "application/json, application/yaml";

/** The first acceptable clause by quality, in order; throws 406 when there is none. */
export function negotiate(accept: string | undefined): Negotiated {
  if (accept === undefined || accept.trim() === "") return PLAIN;
  const wanted = clauses(accept);
  for (const clause of wanted) {
    const fit = fitting(clause);
    if (fit !== null) return fit;
  }
  // A type that is served in a shape that is not: upstream finds out later, and says so in other words.
  const isServed = wanted.some((clause) => ENCODINGS[clause.type] !== undefined);
  if (isServed) throw new ApiError(406, "NotAcceptable", `only the following media types are accepted: ${OFFERED}`);
  throw notAcceptable(OFFERED);
}

interface Clause {
  readonly type: string;
  readonly params: ReadonlyMap<string, string>;
  readonly quality: number;
}

/** Parses an Accept header; stable in order of quality. */
export function clauses(accept: string): Clause[] {
  const parsed = accept.split(",").map((text): Clause => {
    const [type = "", ...rest] = text.split(";").map((part) => part.trim());
    const params = new Map<string, string>();
    for (const part of rest) {
      const at = part.indexOf("=");
      if (at > 0) params.set(part.slice(0, at).toLowerCase(), part.slice(at + 1));
    }
    const quality = Number(params.get("q") ?? "1");
    return { type: type.toLowerCase(), params, quality: Number.isFinite(quality) ? quality : 0 };
  });
  return parsed.filter((clause) => clause.quality > 0).sort((a, b) => b.quality - a.quality);
}

function fitting(clause: Clause): Negotiated | null {
  const encoding = ENCODINGS[clause.type];
  if (encoding === undefined) return null;
  const as = clause.params.get("as");
  if (as === undefined) return { ...PLAIN, encoding };
  const metaVersion = clause.params.get("v") ?? "";
  if (clause.params.get("g") !== "meta.k8s.io" || (metaVersion !== "v1" && metaVersion !== "v1beta1")) return null;
  if (as !== "Table" && as !== "PartialObjectMetadata" && as !== "PartialObjectMetadataList") return null;
  return { encoding, shape: as, metaVersion };
}

const ENCODINGS: Record<string, "json" | "yaml" | undefined> = {
  "application/json": "json",
  "application/*": "json",
  "*/*": "json",
  "text/plain": "json",
  "application/yaml": "yaml",
};

/** The version (v2, v2beta1) of aggregated discovery when that is what the client prefers, else null. */
export function negotiateDiscovery(accept: string | undefined): "v2" | "v2beta1" | null {
  for (const clause of clauses(accept ?? "")) {
    if (ENCODINGS[clause.type] !== "json") continue;
    const as = clause.params.get("as");
    if (as === undefined) return null;
    const version = clause.params.get("v");
    const wanted = as === "APIGroupDiscoveryList" && clause.params.get("g") === "apidiscovery.k8s.io";
    if (wanted && (version === "v2" || version === "v2beta1")) return version;
  }
  return null;
}
