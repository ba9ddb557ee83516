// Kubernetes objects in, pushed resources (decoded from their bytes) and conditions out; one folder per rule or trap.
import { join } from "node:path";
import { createRegistry, fromBinary, toJson } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { formatCidr, cidrFromBytes, ipFromBytes } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { security, workload } from "@ambit/proto";
import { checkGolden, goldenCases, type GoldenInput } from "@ambit/testkit";
import { SOURCE_KINDS } from "./kinds.ts";
import { admit, type SourceName } from "./admit.ts";
import { buildMesh } from "./graph.ts";
import { DEFAULT_SETTINGS, type Settings } from "./settings.ts";
import { encodeAddress, encodePolicy } from "../push/encode.ts";

/** What our own extensions hold. */
const EXTENSIONS = createRegistry(DurationSchema);

const FOLDER = join(import.meta.dirname, "testdata");

describe("translations", () => {
  for (const name of goldenCases(FOLDER)) it(name, () => checkGolden(FOLDER, name, translate));
});

function translate(input: GoldenInput): unknown {
  // A document of kind Settings overrides what no Kubernetes object says.
  const [settings = {}] = input.take((d) => d["kind"] === "Settings");
  const mesh = buildMesh({ ...DEFAULT_SETTINGS, ...(settings["settings"] as Partial<Settings> | undefined) });
  const refused: Record<string, unknown> = {};
  mesh.batch(() => {
    for (const source of Object.keys(mesh.sources) as SourceName[])
      for (const object of input.take((d) => d["kind"] === SOURCE_KINDS[source].kind)) {
        const admitted = admit(source, object);
        if (admitted.ok) mesh.sources[source].set(admitted.value as never);
        else refused[(object as unknown as KubeObject).metadata?.name ?? "?"] = admitted.error;
      }
  });
  return {
    addresses: Object.fromEntries(mesh.addresses.list().map((a) => [a.name, {
      ...(a.aliases.length === 0 ? {} : { aliases: a.aliases }),
      ...(readable(toJson(workload.AddressSchema, fromBinary(workload.AddressSchema, encodeAddress(a)), { registry: EXTENSIONS })) as object),
    }])),
    authorizations: Object.fromEntries(mesh.authorizations.list().map((p) => [`${p.namespace}/${p.name}`,
      readable(toJson(security.AuthorizationSchema, fromBinary(security.AuthorizationSchema, encodePolicy(p))))])),
    conditions: Object.fromEntries(mesh.statuses.list().filter((s) => s.conditions.length > 0).map((s) => [s.key, s.conditions])),
    ...(Object.keys(refused).length === 0 ? {} : { refused }),
  };
}

/** Addresses as text instead of base64. */
function readable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(readable);
  if (typeof value !== "object" || value === null) return value;
  const o = value as Record<string, unknown>;
  if (typeof o["address"] === "string" && typeof o["length"] === "number") return blockText(o["address"], o["length"]);
  return Object.fromEntries(Object.entries(o).map(([k, v]) => [k,
    k === "address" && typeof v === "string" ? ipText(v)
      : k === "addresses" && Array.isArray(v) && v.every((a) => typeof a === "string") ? v.map((a) => ipText(a)) : readable(v)]));
}

function ipText(base64: string): string {
  const ip = ipFromBytes(Buffer.from(base64, "base64"));
  return ip.ok ? ip.value : `!${ip.error}`;
}
function blockText(base64: string, length: number): string {
  const block = cidrFromBytes(Buffer.from(base64, "base64"), length);
  return block.ok ? formatCidr(block.value) : `!${block.error}`;
}
