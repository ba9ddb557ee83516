// Owns what a client carries to come back to the same endpoint (Gateway API sessionPersistence), and reading it back.
import { cookieValue, fieldValue, type ServiceKey, type SessionPersistence, type WorkloadUid } from "@ambit/core";

/** Makes a text unforgeable and opaque enough to hand out, and opens only what it made. */
export interface SessionSeal {
  seal(text: string): string;
  open(value: string): string | undefined;
}

export interface Session { readonly service: ServiceKey; readonly workload: WorkloadUid }

/** The endpoint that the request asks for; undefined: none, a forged one, or one whose time is over. */
export function readSession(rule: SessionPersistence, seal: SessionSeal, fields: readonly string[], now: number): Session | undefined {
  const value = rule.kind === "cookie" ? cookieValue(fields, rule.name) : fieldValue(fields, rule.name.toLowerCase());
  const text = value === undefined ? undefined : seal.open(value);
  const [service, workload, until] = text?.split("\n") ?? [];
  if (service === undefined || workload === undefined || until === undefined) return undefined;
  return until === "" || now < Number(until) ? { service, workload } : undefined;
}

/** The fields of an answer that make the client ask for this endpoint. */
export function rememberSession(rule: SessionPersistence, seal: SessionSeal, { service, workload }: Session, now: number): readonly string[] {
  const { absoluteTimeoutMs } = rule;
  const value = seal.seal([service, workload, absoluteTimeoutMs === undefined ? "" : String(now + absoluteTimeoutMs)].join("\n"));
  if (rule.kind === "header") return [rule.name.toLowerCase(), value];
  const age = absoluteTimeoutMs === undefined ? "" : `; Max-Age=${Math.ceil(absoluteTimeoutMs / 1000)}`;
  return ["set-cookie", `${rule.name}=${value}${age}; Path=${rule.path === "" ? "/" : rule.path}; HttpOnly`];
}
