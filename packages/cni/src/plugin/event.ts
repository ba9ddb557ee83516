// Owns the message from the CNI plugin to the agent: Istio's JSON (protocol §6.4), decoded strictly.
import { err, ok, parseIp, problem, type Problem, type Result } from "@ambit/core";

export interface PodEvent {
  readonly netns: string;
  readonly name: string;
  readonly namespace: string;
  readonly ips: readonly string[];
  /** Our plugin says which pod of that name it means; Istio's does not. */
  readonly uid?: string;
}

export const EVENT_SOCKET = "pluginevent.sock";
export const EVENT_PATH = "/cmdadd";
/** A pod has a handful of addresses. */
const IPS_MAX = 32;

export function encodeEvent(event: PodEvent): string {
  return JSON.stringify({
    Netns: event.netns, PodName: event.name, PodNamespace: event.namespace, ...(event.uid === undefined ? {} : { PodUID: event.uid }),
    IPs: event.ips.map((ip) => ({ Interface: null, Address: { IP: ip, Mask: Buffer.alloc(ip.includes(":") ? 16 : 4, 0xff).toString("base64") }, Gateway: "" })),
  });
}

export function decodeEvent(text: string): Result<PodEvent> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return err([problem("", `not JSON: ${error instanceof Error ? error.message : String(error)}`)]);
  }
  if (typeof value !== "object" || value === null) return err([problem("", "not a JSON object")]);
  const record = value as Record<string, unknown>;
  const problems: Problem[] = [];
  const textOf = (field: string): string => {
    const v = record[field];
    if (typeof v === "string" && v !== "" && !v.includes("\0")) return v;
    problems.push(problem(field, "must be text and not empty"));
    return "";
  };
  const event = { netns: textOf("Netns"), name: textOf("PodName"), namespace: textOf("PodNamespace") };
  const uid = record["PodUID"] === undefined ? {} : { uid: textOf("PodUID") };
  const list = record["IPs"] ?? [];
  const ips: string[] = [];
  if (!Array.isArray(list) || list.length > IPS_MAX) problems.push(problem("IPs", `must be a list of at most ${IPS_MAX}`));
  else list.forEach((entry: unknown, i) => {
    const address = (entry as { Address?: { IP?: unknown } } | null)?.Address?.IP;
    const ip = typeof address === "string" ? parseIp(address) : undefined;
    if (ip?.ok === true) ips.push(ip.value);
    else problems.push(problem(`IPs[${i}].Address.IP`, "must be an IP address"));
  });
  return problems.length > 0 ? err(problems) : ok({ ...event, ...uid, ips });
}
