// Owns turning what a person types into workloads and addresses: `NAMESPACE/POD`, `service.namespace:80`, `10.0.0.1:80`. Pure.
import { err, ok, parseIp, type Ip, type Result, type Service, type SocketAddress, type Workload } from "@ambit/core";
import type { StateView } from "@ambit/ztunnel/pure";

const LISTED_MAX = 8;

/** A pod by its name, or by the name of what owns it or its canonical name when that is clear. */
export function findSource(view: StateView, text: string): Result<Workload, string> {
  const [namespace = "", name = "", ...rest] = text.split("/");
  if (name === "" || rest.length > 0) return err(`"${text}" is not of the form NAMESPACE/POD`);
  const here = [...view.workloads()].filter((w) => w.namespace === namespace);
  const exact = here.find((w) => w.name === name);
  if (exact !== undefined) return ok(exact);
  const byOwner = here.filter((w) => w.workloadName === name || w.canonicalName === name);
  const [first] = byOwner;
  // Pods of one owner share identity and policy: any of them gives the same answer.
  if (first !== undefined) return ok(first);
  return err(`no pod "${name}" in namespace "${namespace}"${here.length === 0 ? ": the namespace has no pods" : `; there are ${list(here.map((w) => w.name))}`}`);
}

/** The address an application in `namespace` would connect to. */
export function findDestination(view: StateView, text: string, namespace: string, network: string): Result<SocketAddress, string> {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return err(`"${text}" is not HOST, HOST:PORT or IP:PORT`);
  const host = match[1] ?? match[2] ?? "";
  const port = match[3] === undefined ? undefined : Number(match[3]);
  if (port !== undefined && (port < 1 || port > 65535)) return err(`"${text}": a port is 1 to 65535`);
  const ip = parseIp(host);
  if (ip.ok) return port === undefined ? err(`"${text}": an address needs a port`) : ok({ ip: ip.value, port });
  if (host.includes("/")) return podAddress(view, host, port);
  const service = serviceNamed(view, host, namespace);
  if (service === undefined) return err(`no service is called "${host}" as seen from namespace "${namespace}"; known: ${list([...view.services()].map((s) => `${s.name}.${s.namespace}`)) || "none"}`);
  const ports = [...service.ports.keys()].sort((a, b) => a - b);
  const chosen = port ?? (ports.length === 1 ? ports[0] : undefined);
  if (chosen === undefined) return err(`service ${service.hostname} has ports ${ports.join(", ")}: say which, as ${host}:${ports[0] ?? "PORT"}`);
  const vip = service.vips.find((v) => v.network === network)?.cidr.ip ?? firstEndpoint(view, service);
  return vip === undefined ? err(`service ${service.hostname} has neither an address nor an endpoint`) : ok({ ip: vip, port: chosen });
}

function podAddress(view: StateView, text: string, port: number | undefined): Result<SocketAddress, string> {
  const found = findSource(view, text);
  if (!found.ok) return found;
  const [ip] = found.value.addresses;
  if (ip === undefined) return err(`pod ${text} has no address`);
  return port === undefined ? err(`"${text}": a pod needs a port`) : ok({ ip, port });
}

/** As resolvers search: `name`, `name.ns`, `name.ns.svc`, or the whole name. */
function serviceNamed(view: StateView, host: string, namespace: string): Service | undefined {
  const [name = "", ns = namespace, ...rest] = host.split(".");
  for (const s of view.services()) {
    if (s.hostname === host) return s;
    if (s.name === name && s.namespace === ns && (rest.length === 0 || s.hostname === host || s.hostname.startsWith(`${host}.`))) return s;
  }
  return undefined;
}

const firstEndpoint = (view: StateView, service: Service): Ip | undefined => view.endpoints(`${service.namespace}/${service.hostname}`)[0]?.workload?.addresses[0];
const list = (names: readonly string[]): string => (names.length > LISTED_MAX ? `${names.slice(0, LISTED_MAX).join(", ")} and ${names.length - LISTED_MAX} more` : names.join(", "));
