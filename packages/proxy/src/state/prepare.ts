// Owns the first half of a push: wire resources become a batch, each on its own, whole or rejected with every problem named.
import { fromBinary } from "@bufbuild/protobuf";
import { describeProblems, policyKey, serviceKey, type Policy, type PolicyKey, type Problem, type Result, type Service, type ServiceKey, type Workload } from "@ambit/core";
import { security, workload } from "@ambit/proto";
import { decodePolicy } from "./decode-policy.ts";
import { decodeService } from "./decode-service.ts";
import { decodeWorkload } from "./decode-workload.ts";


export interface WirePush {
  readonly upserts: readonly { readonly name: string; readonly bytes: Uint8Array }[];
  readonly removed: readonly string[];
  /** Names whose content was not even of the type that was asked for: they are refused already, and have no bytes. */
  readonly misfits?: readonly string[] | undefined;
}

/** A policy that was refused: until a good version arrives, what it applies to is treated as denied (ADR 0005). */
export interface RejectedPolicy {
  readonly key: PolicyKey;
  readonly namespace: string;
  /** `unknown`: it could not be read at all. */
  readonly scope: Policy["scope"] | "unknown";
  readonly dryRun: boolean;
}

export type Change =
  | { readonly kind: "workload"; readonly value: Workload }
  | { readonly kind: "service"; readonly key: ServiceKey; readonly value: Service }
  | { readonly kind: "policy"; readonly key: PolicyKey; readonly value: Policy }
  | { readonly kind: "policy-rejected"; readonly value: RejectedPolicy }
  | { readonly kind: "address-removed"; readonly name: string }
  | { readonly kind: "policy-removed"; readonly key: PolicyKey };

export interface Batch { readonly changes: readonly Change[] }

/** `path` of a reject is the resource's name, `message` has every problem with its field path. */
export interface Prepared { readonly batch: Batch; readonly rejects: readonly Problem[] }

export function prepareAddresses(push: WirePush): Prepared {
  const changes: Change[] = push.removed.map((name) => ({ kind: "address-removed", name }));
  return prepareEach(push, changes, (bytes, name) => {
    const { type } = fromBinary(workload.AddressSchema, bytes);
    switch (type.case) {
      case "workload": return named(decodeWorkload(type.value, name), (value) => ({ name: value.uid, change: { kind: "workload", value } }));
      case "service": return named(decodeService(type.value), (value) => {
        const key = serviceKey(value.namespace, value.hostname);
        return { name: key, change: { kind: "service", key, value } };
      });
      case undefined: throw new Error("an Address is neither a workload nor a service");
    }
  });
}

export function preparePolicies(push: WirePush): Prepared {
  const changes: Change[] = push.removed.map((key) => ({ kind: "policy-removed", key }));
  const rejects: Problem[] = [];
  for (const { name, bytes } of push.upserts) {
    const one = prepareEach({ upserts: [{ name, bytes }], removed: [] }, [], (raw) =>
      named(decodePolicy(fromBinary(security.AuthorizationSchema, raw)), (value) => {
        const key = policyKey(value);
        return { name: key, change: { kind: "policy", key, value } };
      }));
    changes.push(...one.batch.changes);
    rejects.push(...one.rejects);
    if (one.rejects.length > 0) changes.push({ kind: "policy-rejected", value: rejectedPolicy(name, bytes) });
  }
  for (const name of push.misfits ?? []) changes.push({ kind: "policy-rejected", value: unreadablePolicy(name) });
  return { batch: { changes }, rejects };
}

type Named = { readonly name: string; readonly change: Change };

function named<T>(result: Result<T, readonly Problem[]>, make: (value: T) => Named): Named {
  if (!result.ok) throw new Error(describeProblems(result.error));
  return make(result.value);
}

function prepareEach(push: WirePush, changes: Change[], decode: (bytes: Uint8Array, name: string) => Named): Prepared {
  const rejects: Problem[] = [];
  for (const { name, bytes } of push.upserts) {
    try {
      const decoded = decode(bytes, name);
      // A removal comes by name: a resource under another name than its own could never be removed again.
      if (decoded.name !== name) rejects.push({ path: name, message: `the content is that of "${decoded.name}"` });
      else changes.push(decoded.change);
    } catch (error) {
      // Foreign bytes: whatever the protobuf decoder throws is a reject of this resource.
      rejects.push({ path: name, message: error instanceof Error ? error.message : String(error) });
    }
  }
  return { batch: { changes }, rejects };
}

/** What can still be learnt of a refused policy. A scope without a word counts as its namespace, so that it fails closed. */
function rejectedPolicy(name: string, bytes: Uint8Array): RejectedPolicy {
  try {
    const raw = fromBinary(security.AuthorizationSchema, bytes);
    const scope = raw.scope === security.Scope.GLOBAL ? "global" : raw.scope === security.Scope.WORKLOAD_SELECTOR ? "workload" : "namespace";
    return { ...unreadablePolicy(name), scope, dryRun: raw.dryRun };
  } catch {
    return unreadablePolicy(name);
  }
}

const unreadablePolicy = (name: string): RejectedPolicy => ({ key: name, namespace: name.slice(0, Math.max(0, name.indexOf("/"))), scope: "unknown", dryRun: false });
