// Owns sharing of equal parts between workloads: the pods of one deployment differ in little, and a node knows 50,000 pods.
import type { Identity, Locality, PolicyKey, PortMap, ServiceKey } from "@ambit/core";

/** Distinct parts of one kind that are remembered. Beyond that all are forgotten: what lives on is shared less, nothing else. */
const PARTS_MAX = 100_000;

/** The first of equal values stands for all later ones. */
class Parts<T> {
  readonly #known = new Map<string, T>();

  of(key: string, make: () => T): T {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.#known.size >= PARTS_MAX) this.#known.clear();
    const value = make();
    this.#known.set(key, value);
    return value;
  }
}

const texts = new Parts<string>();
const identities = new Parts<Identity>();
const localities = new Parts<Locality>();
const portMaps = new Parts<PortMap>();
const memberships = new Parts<ReadonlyMap<ServiceKey, PortMap>>();
const NO_POLICIES: readonly PolicyKey[] = [];

/** Of names that many workloads have; those of one alone are not worth a place. */
export const internText = (text: string): string => (text === "" ? "" : texts.of(text, () => text));
export const internIdentity = (id: Identity): Identity => identities.of(`${id.trustDomain}\0${id.namespace}\0${id.serviceAccount}`, () => id);
export const internLocality = (l: Locality): Locality => localities.of(`${l.region}\0${l.zone}\0${l.subzone}`, () => l);
export const internPolicies = (keys: readonly PolicyKey[]): readonly PolicyKey[] => (keys.length === 0 ? NO_POLICIES : keys);

const portsText = (ports: PortMap): string => {
  let text = "";
  for (const [from, to] of ports) text += `${from}:${to},`;
  return text;
};

export function internServices(services: ReadonlyMap<ServiceKey, PortMap>): ReadonlyMap<ServiceKey, PortMap> {
  let key = "";
  for (const [service, ports] of services) key += `${service}\0${portsText(ports)}\0`;
  return memberships.of(key, () => new Map([...services].map(([service, ports]) => [internText(service), portMaps.of(portsText(ports), () => ports)])));
}
