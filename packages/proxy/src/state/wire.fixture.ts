// Test builders: wire resources with defaults, and state made from them through the production prepare → apply.
import assert from "node:assert/strict";
import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { type Ip, ipBytes, parseIp, parseSocketAddress, type SocketAddress } from "@ambit/core";
import { security, workload } from "@ambit/proto";
import { prepareAddresses, preparePolicies } from "./prepare.ts";
import { ProxyState } from "./proxy-state.ts";

export type WireWorkload = MessageInitShape<typeof workload.WorkloadSchema>;
export type WireService = MessageInitShape<typeof workload.ServiceSchema>;
export type WirePolicy = MessageInitShape<typeof security.AuthorizationSchema>;

export const HBONE = workload.TunnelProtocol.HBONE;
export const ip = (t: string): Ip => { const r = parseIp(t); assert.ok(r.ok, t); return r.value; };
export const at = (t: string): SocketAddress => { const r = parseSocketAddress(t); assert.ok(r.ok, t); return r.value; };
export const octets = (t: string): Uint8Array => (t.includes(":") ? ipBytes(ip(t)) : Uint8Array.from(t.split(".").map(Number)));

/** `ns/name`, service account = name, one address. */
export function pod(name: string, address: string, more: WireWorkload = {}): WireWorkload {
  return {
    uid: `Kubernetes//Pod/ns/${name}`, name, namespace: "ns", serviceAccount: name, workloadName: name, canonicalName: name, canonicalRevision: "v1",
    addresses: address === "" ? [] : [octets(address)], tunnelProtocol: HBONE, workloadType: workload.WorkloadType.POD, node: "n1", clusterId: "Kubernetes", ...more,
  };
}

/** Member of `ns/host` with service port → target port. */
export const member = (host: string, ports: Record<number, number> = { 80: 8080 }): Exclude<WireWorkload["services"], undefined> =>
  ({ [`ns/${host}`]: { ports: Object.entries(ports).map(([servicePort, targetPort]) => ({ servicePort: Number(servicePort), targetPort })) } });

export function svc(host: string, vip: string, more: WireService = {}): WireService {
  return {
    name: host, namespace: "ns", hostname: host, canonical: true, ports: [{ servicePort: 80, targetPort: 8080 }],
    addresses: vip === "" ? [] : [{ network: "", address: octets(vip) }], ...more,
  };
}

export const waypointAt = (host: string): workload.GatewayAddress =>
  create(workload.GatewayAddressSchema, { destination: { case: "hostname", value: { namespace: "ns", hostname: host } }, hboneMtlsPort: 15008 });

export const addressBytes = (type: { case: "workload"; value: WireWorkload } | { case: "service"; value: WireService }): Uint8Array =>
  toBinary(workload.AddressSchema, create(workload.AddressSchema, { type: type as MessageInitShape<typeof workload.AddressSchema>["type"] & {} }));
export const policyBytes = (p: WirePolicy): Uint8Array => toBinary(security.AuthorizationSchema, create(security.AuthorizationSchema, p));

export interface World { readonly workloads?: readonly WireWorkload[]; readonly services?: readonly WireService[]; readonly policies?: readonly WirePolicy[] }

export function pushWorld(state: ProxyState, world: World): void {
  const addresses = prepareAddresses({ removed: [], upserts: [
    ...(world.workloads ?? []).map((value) => ({ name: value.uid ?? "", bytes: addressBytes({ case: "workload", value }) })),
    ...(world.services ?? []).map((value) => ({ name: `${value.namespace}/${value.hostname}`, bytes: addressBytes({ case: "service", value }) })),
  ] });
  const policies = preparePolicies({ removed: [], upserts: (world.policies ?? []).map((p) => ({ name: `${p.namespace}/${p.name}`, bytes: policyBytes(p) })) });
  assert.deepEqual([...addresses.rejects, ...policies.rejects], []);
  state.apply(addresses.batch);
  state.apply(policies.batch);
}

export function stateOf(world: World): ProxyState {
  const state = new ProxyState("n1");
  pushWorld(state, world);
  return state;
}

/** A number that an enum of the wire has no name for: protobuf lets it through, TypeScript does not. */
export const wild = (n: number): never => n as never;
