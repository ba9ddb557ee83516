// Owns certificate requests (PKCS#10, RFC 2986) for tests: a fresh P-256 key, an empty subject, one URI name.
import { generateKeyPairSync, sign } from "node:crypto";
import { formatIdentity, type Identity } from "@ambit/core";
import { bits, context, integer, octets, oid, sequence, set } from "./der.ts";

export interface FakeCsr { readonly keyPem: string; readonly csrPem: string }

export function fakeCsr(identity: Identity): FakeCsr {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const names = sequence(context(6, false, Buffer.from(formatIdentity(identity))));
  const request = sequence(oid("1.2.840.113549.1.9.14"), set(sequence(sequence(oid("2.5.29.17"), octets(names)))));
  const info = sequence(integer(Buffer.from([0])), sequence(), publicKey.export({ type: "spki", format: "der" }), context(0, true, request));
  const der = sequence(info, sequence(oid("1.2.840.10045.4.3.2")), bits(sign("sha256", info, privateKey)));
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return { keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(), csrPem: `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join("\n")}\n-----END CERTIFICATE REQUEST-----\n` };
}
