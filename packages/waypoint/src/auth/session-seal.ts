// Owns sealing what clients carry of their session: authenticated with a key that all replicas of a waypoint share.
import { createHmac, timingSafeEqual } from "node:crypto";
import type { SessionSeal } from "../plan/session.ts";

/** Octets of the tag that are kept: 128 bits cannot be guessed. */
const TAG = 16;
/** Characters of a sealed value: a service and a workload name each have a few hundred. */
const VALUE_MAX = 2048;

/** `key`: at least 32 octets. Replicas with other keys do not know each other's clients: they balance them anew. */
export function createSessionSeal(key: Uint8Array): SessionSeal {
  const tagOf = (text: string): Buffer => createHmac("sha256", key).update(text).digest().subarray(0, TAG);
  return {
    seal: (text) => `${tagOf(text).toString("base64url")}.${Buffer.from(text).toString("base64url")}`,
    open: (value) => {
      const [tag, body, ...more] = value.length > VALUE_MAX ? [] : value.split(".");
      if (tag === undefined || body === undefined || more.length > 0) return undefined;
      const text = Buffer.from(body, "base64url").toString();
      const given = Buffer.from(tag, "base64url");
      return given.length === TAG && timingSafeEqual(given, tagOf(text)) ? text : undefined;
    },
  };
}
