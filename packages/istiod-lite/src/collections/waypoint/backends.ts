// Owns how a reference to a backend becomes a service port, or the reason why it does not (gateway-conformance.md §6).
import type { Collection, Context, Index } from "@ambit/collections";
import { serviceKey, type Backend } from "@ambit/core";
import type { Reader } from "../decode.ts";
import { hostnameOf, type ServiceInfo } from "../services.ts";
import type { Settings } from "../settings.ts";

export interface BackendInputs {
  readonly settings: Settings;
  readonly services: Collection<ServiceInfo>;
  /** Value: hostname. */
  readonly servicesByHost: Index<ServiceInfo>;
}

export type RefReason = "BackendNotFound" | "InvalidKind" | "UnsupportedProtocol" | "RefNotPermitted";
export interface RefProblem { readonly reason: RefReason; readonly message: string }
export type Resolved = { readonly ok: true; readonly backend: Backend } | { readonly ok: false; readonly problem: RefProblem };

/** A reference as written: Service of the core group unless it says otherwise. */
export interface ObjectRef { readonly group: string; readonly kind: string; readonly namespace: string | undefined; readonly name: string; readonly port: number | undefined }

export const BACKEND_REF_FIELDS = ["group", "kind", "namespace", "name", "port"] as const;

export function readBackendRef(reader: Reader, fields: Readonly<Record<string, unknown>>, path: string): ObjectRef {
  return {
    group: reader.text(fields["group"], `${path}.group`) ?? "", kind: reader.text(fields["kind"], `${path}.kind`) ?? "Service",
    namespace: reader.text(fields["namespace"], `${path}.namespace`), name: reader.text(fields["name"], `${path}.name`) ?? "",
    port: fields["port"] === undefined ? undefined : reader.port(fields["port"], `${path}.port`),
  };
}

/** In a mesh a route may send to any namespace: whoever it sends for could connect there as well (GEP-1294). */
export function resolveBackend(ctx: Context, inputs: BackendInputs, ref: ObjectRef, ownNamespace: string): Resolved {
  const found = locate(ctx, inputs, ref, ownNamespace);
  if (!("key" in found)) return { ok: false, problem: found };
  const { port } = ref;
  const name = `${ref.kind} ${ref.kind === "Hostname" ? ref.name : `${ref.namespace ?? ownNamespace}/${ref.name}`}`;
  if (port === undefined) return refused("UnsupportedProtocol", `${name}: a port must be given`);
  const declared = found.ports.find((p) => p.port === port && p.tcp);
  if (declared !== undefined) return { ok: true, backend: { service: found.key, port, subset: undefined } };
  return found.ports.some((p) => p.port === port) ? refused("UnsupportedProtocol", `${name}: port ${port} is not TCP`) : refused("BackendNotFound", `${name} has no port ${port}`);
}

const refused = (reason: RefReason, message: string): Resolved => ({ ok: false, problem: { reason, message } });

function locate(ctx: Context, inputs: BackendInputs, ref: ObjectRef, own: string): ServiceInfo | RefProblem {
  if (ref.group === "" && ref.kind === "Service") {
    const namespace = ref.namespace ?? own;
    return ctx.fetchOne(inputs.services, { key: serviceKey(namespace, hostnameOf(inputs.settings, namespace, ref.name)) })
      ?? { reason: "BackendNotFound", message: `Service ${namespace}/${ref.name} does not exist` };
  }
  if (ref.group === "networking.istio.io" && ref.kind === "Hostname") {
    const found = serviceOfHost(ctx, inputs, ref.name, own);
    if (found !== undefined) return found;
    return ctx.fetch(inputs.services, { index: [inputs.servicesByHost, ref.name] }).length === 0
      ? { reason: "BackendNotFound", message: `no service has the host ${ref.name}` }
      : { reason: "RefNotPermitted", message: `the host ${ref.name} is kept in another namespace` };
  }
  return { reason: "InvalidKind", message: `${ref.group === "" ? "" : `${ref.group}/`}${ref.kind} cannot be a backend: Service, or Hostname of networking.istio.io` };
}

/** The one of the own namespace, else the one that everybody means. An entry that is kept in its namespace is reachable from nowhere else, so from no route either. */
export function serviceOfHost(ctx: Context, inputs: Pick<BackendInputs, "services" | "servicesByHost">, hostname: string, own: string): ServiceInfo | undefined {
  const all = ctx.fetch(inputs.services, { index: [inputs.servicesByHost, hostname] });
  return all.find((s) => s.service.namespace === own) ?? all.find((s) => s.service.canonical && s.service.visibility === "public");
}
