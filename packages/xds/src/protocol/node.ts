// Owns the rules about who a client says it is (xDS Node) and whether that may be (Istio's identity check).
import { parseIp, type Identity } from "@ambit/core";
import type { XdsNode } from "./messages.ts";

const ROLES: ReadonlySet<string> = new Set(["sidecar", "router", "waypoint", "ztunnel", "agentgateway"]);
/** The address a proxy reports when it does not know its own. */
const UNKNOWN_IP = "1.1.1.1";

export interface NodeFacts {
  readonly role: "ztunnel" | "waypoint";
  readonly ip: string | undefined;
  readonly podName: string;
  readonly podNamespace: string;
  readonly nodeName: string;
  /** ISTIO_META_* and friends; the fixed keys win. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** The Node of a proxy, in the form that Istio's control plane parses. */
export function proxyNode(f: NodeFacts): XdsNode {
  const ip = f.ip ?? UNKNOWN_IP;
  return {
    id: `${f.role}~${ip}~${f.podName}.${f.podNamespace}~${f.podNamespace}.svc.cluster.local`,
    metadata: { ...f.extra, NAME: f.podName, NAMESPACE: f.podNamespace, INSTANCE_IPS: ip, NODE_NAME: f.nodeName },
  };
}

export type NodeVerdict =
  | { readonly ok: true; readonly role: string; readonly nodeName: string }
  | { readonly ok: false; readonly code: "invalid" | "denied"; readonly reason: string };

/** `identity` is the authenticated caller; a node that claims another namespace or service account is denied. */
export function checkNode(node: XdsNode | undefined, identity: Identity): NodeVerdict {
  if (node === undefined || node.id === "") return invalid("the first request carries no node");
  const parts = node.id.split("~");
  const [role = "", ip = "", name = "", domain = ""] = parts;
  if (parts.length !== 4) return invalid(`node id "${shown(node.id)}" does not have the four parts role~ip~name.namespace~domain`);
  if (!ROLES.has(role)) return invalid(`node id "${shown(node.id)}": unknown role "${shown(role)}"`);
  if (name === "") return invalid(`node id "${shown(node.id)}": empty name`);
  if (!parseIp(ip).ok && !hasIp(node.metadata["INSTANCE_IPS"]))
    return invalid(`node id "${shown(node.id)}": neither it nor INSTANCE_IPS has an IP address`);
  const stated = node.metadata["NAMESPACE"];
  const namespace = typeof stated === "string" && stated !== "" ? stated : (domain.split(".")[0] ?? "");
  if (namespace !== identity.namespace)
    return denied(`node says namespace "${shown(namespace)}", the token says "${identity.namespace}"`);
  const account = node.metadata["SERVICE_ACCOUNT"];
  if (account !== undefined && account !== "" && account !== identity.serviceAccount)
    return denied(`node says service account "${shown(String(account))}", the token says "${identity.serviceAccount}"`);
  const nodeName = node.metadata["NODE_NAME"];
  return { ok: true, role, nodeName: typeof nodeName === "string" ? nodeName : "" };
}

function hasIp(value: unknown): boolean {
  const list = Array.isArray(value) ? value : typeof value === "string" ? value.split(",") : [];
  return list.some((v) => typeof v === "string" && parseIp(v.trim()).ok);
}

const SHOWN_MAX = 200;
const shown = (s: string): string => s.slice(0, SHOWN_MAX).replace(/[^\x20-\x7e]/g, "?");
const invalid = (reason: string): NodeVerdict => ({ ok: false, code: "invalid", reason });
const denied = (reason: string): NodeVerdict => ({ ok: false, code: "denied", reason });
