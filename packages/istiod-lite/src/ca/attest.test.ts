import assert from "node:assert/strict";
import { formatIdentity } from "@ambit/core";
import { attest, type AttestRules, type PodFacts, type PodLookup, type Reviewed } from "./attest.ts";

const ztunnelPod: PodFacts = { namespace: "istio-system", name: "ztunnel-a", uid: "u1", serviceAccount: "ztunnel", nodeName: "n1", phase: "Running" };
const cart: PodFacts = { namespace: "shop", name: "cart-1", uid: "u2", serviceAccount: "cart", nodeName: "n1", phase: "Running" };
const caller: Reviewed = { namespace: "istio-system", serviceAccount: "ztunnel", podName: "ztunnel-a", podUid: "u1" };
const rules: AttestRules = { clusterId: "Kubernetes", trustDomains: ["cluster.local", "old.local"], trustedNodeAccounts: new Set(["istio-system/ztunnel"]) };
const wanted = "spiffe://cluster.local/ns/shop/sa/cart";

const lookup = (...pods: PodFacts[]): PodLookup => ({
  pod: (ns, name) => pods.find((p) => p.namespace === ns && p.name === name),
  onNode: (node, ns, sa) => pods.filter((p) => p.nodeName === node && p.namespace === ns && p.serviceAccount === sa),
});

interface Case {
  readonly name: string;
  readonly caller?: Partial<Reviewed>;
  readonly clusterId?: string | undefined;
  readonly impersonated?: string | undefined;
  readonly pods?: PodFacts[];
  readonly expect: string;
}

const cases: Case[] = [
  { name: "a pod on the caller's node", expect: wanted },
  { name: "a pending pod", pods: [ztunnelPod, { ...cart, phase: "Pending" }], expect: wanted },
  { name: "a succeeded pod", pods: [ztunnelPod, { ...cart, phase: "Succeeded" }], expect: wanted },
  { name: "an alias trust domain", impersonated: "spiffe://old.local/ns/shop/sa/cart", expect: "spiffe://old.local/ns/shop/sa/cart" },
  { name: "no impersonation, without clusterid", impersonated: undefined, clusterId: undefined, expect: "spiffe://cluster.local/ns/istio-system/sa/ztunnel" },
  { name: "only a failed pod", pods: [ztunnelPod, { ...cart, phase: "Failed" }], expect: "no: no pod of shop/cart that could run is on node n1" },
  { name: "one failed, one running", pods: [ztunnelPod, { ...cart, phase: "Failed" }, { ...cart, name: "cart-2" }], expect: wanted },
  { name: "a pod on another node", pods: [ztunnelPod, { ...cart, nodeName: "n2" }], expect: "no: no pod of shop/cart that could run is on node n1" },
  { name: "an unscheduled pod", pods: [ztunnelPod, { ...cart, nodeName: "" }], expect: "no: no pod of shop/cart that could run is on node n1" },
  { name: "no clusterid", clusterId: undefined, expect: "no: impersonation without clusterid metadata" },
  { name: "another cluster", clusterId: "c2", expect: 'no: clusterid "c2" is not this cluster (Kubernetes)' },
  { name: "an untrusted account", caller: { serviceAccount: "default" }, expect: "no: istio-system/default is not a trusted node account" },
  { name: "the account's name in another namespace", caller: { namespace: "shop" }, expect: "no: shop/ztunnel is not a trusted node account" },
  { name: "a token without a pod", caller: { podName: undefined }, expect: "no: the token is not bound to a pod" },
  { name: "a token without a uid", caller: { podUid: undefined }, expect: "no: the token is not bound to a pod" },
  { name: "an unknown caller pod", pods: [cart], expect: "no: the caller's pod istio-system/ztunnel-a is not known" },
  { name: "a pod of the same name made anew", pods: [{ ...ztunnelPod, uid: "u9" }, cart], expect: "no: the caller's pod istio-system/ztunnel-a has uid u9, the token says u1" },
  { name: "a caller pod under another account", pods: [{ ...ztunnelPod, serviceAccount: "x" }, cart], expect: "no: the caller's pod istio-system/ztunnel-a runs as x, the token says ztunnel" },
  { name: "a caller pod on no node", pods: [{ ...ztunnelPod, nodeName: "" }, { ...cart, nodeName: "" }], expect: "no: the caller's pod istio-system/ztunnel-a is on no node" },
  { name: "a foreign trust domain", impersonated: "spiffe://evil/ns/shop/sa/cart", expect: 'no: impersonated identity: trust domain "evil" is not one of this mesh' },
  { name: "no SPIFFE", impersonated: "shop/cart", expect: 'no: impersonated identity: "shop/cart" is not a SPIFFE URI' },
  { name: "an empty identity", impersonated: "", expect: 'no: impersonated identity: "" is not a SPIFFE URI' },
];

describe("attest", () => {
  for (const c of cases)
    it(c.name, () => {
      const impersonated = "impersonated" in c ? c.impersonated : wanted;
      const clusterId = "clusterId" in c ? c.clusterId : "Kubernetes";
      const got = attest({ caller: { ...caller, ...c.caller }, clusterId, impersonated }, rules, lookup(...(c.pods ?? [ztunnelPod, cart])));
      assert.equal(got.ok ? formatIdentity(got.identity) : `no: ${got.reason}`, c.expect);
    });
});
