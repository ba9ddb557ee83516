// Owns what a ConfigMap with certificates of authorities is (Gateway API: the key ca.crt), and whether its text can be one.
import { err, ok, type Result } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";

export const CA_KEY = "ca.crt";
/** Octets of all certificates of one policy: each waypoint is sent them. The roots of browsers are about 200 KiB. */
const BUNDLE_MAX = 256 * 1024;

const dataOf = (o: KubeObject): Readonly<Record<string, unknown>> => {
  const data = o["data"];
  return typeof data === "object" && data !== null ? (data as Readonly<Record<string, unknown>>) : {};
};
export const isCaBundle = (o: KubeObject): boolean => typeof dataOf(o)[CA_KEY] === "string";

const BLOCK = /-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----/g;
/** Base64 of SEQUENCE: how the text of every certificate begins. */
const SEQUENCE = /^MI/;

/** The certificates of it, as PEM; what stands around them (comments) is left out. */
export function certificatesIn(o: KubeObject): Result<string, string> {
  const text = dataOf(o)[CA_KEY];
  if (typeof text !== "string") return err(`has no key ${CA_KEY}`);
  if (text.length > BUNDLE_MAX) return err(`is longer than ${BUNDLE_MAX} octets`);
  const blocks = [...text.matchAll(BLOCK)].flatMap(([whole, body]) => (SEQUENCE.test((body ?? "").trimStart()) ? [whole] : []));
  return blocks.length === 0 ? err(`has no certificate in ${CA_KEY}`) : ok(`${blocks.join("\n")}\n`);
}
