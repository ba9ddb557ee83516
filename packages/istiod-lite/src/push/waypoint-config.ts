// Owns the WaypointConfig type as pushed: whole, versioned by content, each to its own waypoint only (ADR 0025).
import { createHash, createHmac } from "node:crypto";
import type { Collection } from "@ambit/collections";
import { encodeWaypointConfig } from "@ambit/core";
import { WAYPOINT_TYPE } from "@ambit/xds";
import type { Authority } from "../ca/authority.ts";
import type { WaypointResource } from "../collections/waypoint/config.ts";
import type { Ticker } from "./debounce.ts";
import { serve, type ServedSource } from "./served.ts";

const utf8 = new TextEncoder();

/** A configuration holds what a namespace's policies say: nobody reads it but the pods that enforce it. */
export const waypointConfigSource = (configs: Collection<WaypointResource>, ticker: Ticker, secretOf: (key: string) => string): ServedSource => ({
  ...serve({
    typeUrl: WAYPOINT_TYPE, versioned: true, collection: configs, ticker, encode: (r) => utf8.encode(encodeWaypointConfig({ ...r.config, sessionSecret: secretOf(r.key) })),
    aliases: () => [], joins: () => [],
  }),
  permits: (name, identity) => {
    const slash = name.indexOf("/");
    // Of one that is not there (yet) only the namespace is known, and only its absence is told.
    const account = configs.get(name)?.serviceAccount ?? identity.serviceAccount;
    return slash !== -1 && name.slice(0, slash) === identity.namespace && account === identity.serviceAccount;
  },
});

/** The same at every replica of ours, another one for every waypoint; it changes with the authority's key, and sessions begin anew. */
export function sessionSecrets(authority: () => Pick<Authority, "toSecret">): (key: string) => string {
  return (key) => {
    const root = createHash("sha256").update(authority().toSecret()["ca-key.pem"] ?? "").digest();
    return createHmac("sha256", root).update(`ambit waypoint session ${key}`).digest("base64url");
  };
}
