// Owns the shape of an L4 policy: policies OR rules, rules AND clauses, clauses OR matches, a match ANDs fields.
import type { Cidr } from "../net/cidr.ts";
import type { PolicyKey } from "../workload/workload.ts";

export type StringMatch =
  | { readonly kind: "exact"; readonly value: string }
  | { readonly kind: "prefix"; readonly value: string }
  | { readonly kind: "suffix"; readonly value: string }
  | { readonly kind: "presence" };

export interface ServiceAccountMatch { readonly namespace: string; readonly serviceAccount: string }

/** Each list: empty = no constraint; otherwise one of it must match (and none of the `not` list may). */
export interface Match {
  readonly namespaces: readonly StringMatch[];
  readonly notNamespaces: readonly StringMatch[];
  readonly principals: readonly StringMatch[];
  readonly notPrincipals: readonly StringMatch[];
  readonly serviceAccounts: readonly ServiceAccountMatch[];
  readonly notServiceAccounts: readonly ServiceAccountMatch[];
  readonly sourceIps: readonly Cidr[];
  readonly notSourceIps: readonly Cidr[];
  readonly destinationIps: readonly Cidr[];
  readonly notDestinationIps: readonly Cidr[];
  readonly destinationPorts: readonly number[];
  readonly notDestinationPorts: readonly number[];
}
/** Asks nothing; with one field set it asks that. */
export const EMPTY_MATCH: Match = {
  namespaces: [], notNamespaces: [], principals: [], notPrincipals: [], serviceAccounts: [], notServiceAccounts: [],
  sourceIps: [], notSourceIps: [], destinationIps: [], notDestinationIps: [], destinationPorts: [], notDestinationPorts: [],
};
export interface Clause { readonly matches: readonly Match[] }
export interface Rule { readonly clauses: readonly Clause[] }

export interface Policy {
  readonly name: string;
  readonly namespace: string;
  readonly scope: "global" | "namespace" | "workload";
  readonly action: "allow" | "deny";
  readonly rules: readonly Rule[];
  readonly dryRun: boolean;
}

export const policyKey = (p: Pick<Policy, "namespace" | "name">): PolicyKey => `${p.namespace}/${p.name}`;
