// Owns the Address type as pushed: workloads and services in one name space, found by name, VIP or pod IP.
import type { Collection } from "@ambit/collections";
import { ADDRESS_TYPE } from "@ambit/xds";
import type { Address } from "../collections/addresses.ts";
import type { Ticker } from "./debounce.ts";
import { encodeAddress } from "./encode.ts";
import { serve, type ServedSource } from "./served.ts";

export const addressSource = (addresses: Collection<Address>, ticker: Ticker): ServedSource => serve({
  typeUrl: ADDRESS_TYPE, versioned: true, collection: addresses, ticker, encode: encodeAddress,
  aliases: (a) => a.aliases,
  node: (a) => (a.kind === "workload" ? a.workload.node : ""),
  joins: (a) => (a.kind === "workload" ? [...a.workload.services.keys()] : []),
});
