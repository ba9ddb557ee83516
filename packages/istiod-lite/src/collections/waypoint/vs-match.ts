// Owns how one match of a VirtualService is read (l7-traffic.md §1, §2).
import type { HeaderMatch, PathMatch, RequestMatch, TextMatch } from "@ambit/core";
import type { Fields, Reader } from "../decode.ts";
import { ANY_REQUEST } from "./match-decode.ts";
import { flag, headerName, regex } from "./read.ts";

const HTTP = ["name", "uri", "scheme", "method", "authority", "headers", "port", "sourceLabels", "gateways", "queryParams", "ignoreUriCase", "withoutHeaders", "sourceNamespace"];
const PSEUDO = [":authority", ":scheme", ":method", ":path"];

export interface VsMatch { readonly match: RequestMatch; readonly name: string | undefined; /** undefined: any port. */ readonly port: number | undefined }

/** undefined: it is for gateways only, which a waypoint is not. */
export function vsHttpMatch(reader: Reader, value: unknown, path: string): VsMatch | undefined {
  const fields = reader.object(value, path, HTTP) ?? {};
  if (!forMesh(reader, fields["gateways"], `${path}.gateways`)) return undefined;
  const claims: RequestMatch["claims"][number][] = [];
  const headers: HeaderMatch[] = [];
  for (const [field, invert] of [["headers", false], ["withoutHeaders", true]] as const)
    for (const [key, v] of Object.entries(reader.map(fields[field], `${path}.${field}`) ?? {})) {
      const at = `${path}.${field}.${key}`;
      const text = textMatch(reader, v, at);
      const claim = claimPath(key);
      if (claim !== undefined) { claims.push({ path: claim, value: text, invert }); continue; }
      if (key.startsWith("@")) reader.refuse(at, "is not an attribute that can be matched");
      const name = headerName(reader, key, at, PSEUDO);
      if (name !== undefined) headers.push({ name, value: text, invert });
    }
  for (const [field, name] of [["authority", ":authority"], ["scheme", ":scheme"]] as const)
    if (fields[field] !== undefined) headers.push({ name, value: textMatch(reader, fields[field], `${path}.${field}`), invert: false });
  return {
    name: reader.text(fields["name"], `${path}.name`),
    port: fields["port"] === undefined || fields["port"] === 0 ? undefined : reader.port(fields["port"], `${path}.port`),
    match: {
      ...ANY_REQUEST, path: uri(reader, fields, path), method: fields["method"] === undefined ? undefined : textMatch(reader, fields["method"], `${path}.method`), headers, claims,
      query: Object.entries(reader.map(fields["queryParams"], `${path}.queryParams`) ?? {}).map(([name, v]) => ({ name, value: textMatch(reader, v, `${path}.queryParams.${name}`) })),
      ...sourceOf(reader, fields, path),
    },
  };
}

export const sourceOf = (reader: Reader, fields: Fields, path: string): Pick<RequestMatch, "sourceNamespace" | "sourceLabels"> => ({
  sourceNamespace: reader.text(fields["sourceNamespace"], `${path}.sourceNamespace`) || undefined,
  sourceLabels: reader.labels(fields["sourceLabels"], `${path}.sourceLabels`) ?? {},
});

/** Nothing said, or `mesh` among them. */
export function forMesh(reader: Reader, gateways: unknown, path: string): boolean {
  const list = reader.list(gateways, path) ?? [];
  return list.length === 0 || list.includes("mesh");
}

function uri(reader: Reader, fields: Fields, path: string): PathMatch | undefined {
  const ignoreCase = flag(reader, fields["ignoreUriCase"], `${path}.ignoreUriCase`) ?? false;
  if (fields["uri"] === undefined) return undefined;
  const text = textMatch(reader, fields["uri"], `${path}.uri`);
  return text.kind === "present" ? undefined : { kind: text.kind, value: text.value, ignoreCase: ignoreCase && text.kind !== "regex" };
}

/** Empty, and the regular expression `*`: whatever it is, as long as it is there. */
export function textMatch(reader: Reader, value: unknown, path: string): TextMatch {
  const fields = reader.object(value ?? {}, path, ["exact", "prefix", "regex"]) ?? {};
  const given = (["exact", "prefix", "regex"] as const).filter((k) => fields[k] !== undefined);
  const [kind] = given;
  if (given.length > 1) reader.refuse(path, `${given.join(" and ")} exclude each other`);
  const text = kind === undefined ? undefined : reader.text(fields[kind], `${path}.${kind}`);
  if (kind === undefined || text === undefined || (kind === "regex" && text === "*")) return { kind: "present" };
  if (kind === "regex") regex(reader, text, `${path}.regex`);
  return { kind, value: text };
}

/** `@request.auth.claims.a.b` or `@request.auth.claims[a][b]`. */
function claimPath(key: string): string[] | undefined {
  const brackets = /^@request\.auth\.claims((?:\[[^\]]+\])+)$/.exec(key)?.[1];
  if (brackets !== undefined) return [...brackets.matchAll(/\[([^\]]+)\]/g)].map((m) => m[1] ?? "");
  return /^@request\.auth\.claims\.(.+)$/.exec(key)?.[1]?.split(".");
}
