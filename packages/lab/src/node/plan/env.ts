// Owns a container's environment: variables in order, their sources, $(VAR) expansion and Service variables.
import type { Service } from "@ambit/kube";
import type { ContainerSpec, NodePod } from "./pod-spec.ts";
import { fieldValue, resourceValue, type NodeFacts } from "./downward.ts";

export interface EnvSources {
  /** Text values of a ConfigMap, or undefined when it does not exist. */
  configMap(name: string): Readonly<Record<string, string>> | undefined;
  secret(name: string): Readonly<Record<string, string>> | undefined;
  readonly services: Readonly<Record<string, string>>;
  readonly node: NodeFacts;
}
export type EnvResult = { readonly env: Readonly<Record<string, string>> } | { readonly problem: string };

/**
 * `$(NAME)` is replaced by its value, `$$` is one `$`, an unknown `$(NAME)` stays as written (Kubernetes' rule).
 */
export function expand(text: string, lookup: (name: string) => string | undefined): string {
  return text.replace(/\$(\$|\(([^)]*)\))/g, (whole, _kind: string, name: string | undefined) => {
    if (whole === "$$") return "$";
    const value = name === undefined ? undefined : lookup(name);
    return value ?? whole;
  });
}

const ENV_NAME = /^[^=\0]+$/;

/** Order: image, Service variables, envFrom, env; later wins; `$(VAR)` sees what came before it. */
export function buildEnv(pod: NodePod, container: ContainerSpec, image: Readonly<Record<string, string>>, sources: EnvSources): EnvResult {
  const env: Record<string, string> = { ...image, ...sources.services };
  for (const from of container.envFrom ?? []) {
    const ref = from.configMapRef ?? from.secretRef;
    if (ref === undefined) return { problem: "envFrom: neither configMapRef nor secretRef" };
    const kind = from.configMapRef !== undefined ? "configmap" : "secret";
    const data = kind === "configmap" ? sources.configMap(ref.name) : sources.secret(ref.name);
    if (data === undefined) {
      if (ref.optional === true) continue;
      return { problem: `${kind} "${ref.name}" not found` };
    }
    for (const [k, v] of Object.entries(data)) env[`${from.prefix ?? ""}${k}`] = v;
  }
  for (const v of container.env ?? []) {
    if (!ENV_NAME.test(v.name)) return { problem: `env: "${v.name}" is not a variable name` };
    if (v.valueFrom === undefined) {
      env[v.name] = expand(v.value ?? "", (name) => env[name]);
      continue;
    }
    const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = v.valueFrom;
    if (fieldRef !== undefined) {
      const value = fieldValue(pod, fieldRef.fieldPath, sources.node);
      if (value === undefined) return { problem: `env ${v.name}: fieldPath "${fieldRef.fieldPath}" is not supported` };
      env[v.name] = value;
    } else if (resourceFieldRef !== undefined) {
      const value = resourceValue(pod, container, resourceFieldRef, sources.node);
      if (value === undefined) return { problem: `env ${v.name}: resource "${resourceFieldRef.resource}" is not supported` };
      env[v.name] = value;
    } else {
      const ref = configMapKeyRef ?? secretKeyRef;
      if (ref === undefined) return { problem: `env ${v.name}: valueFrom names no source that the lab's nodes support` };
      const kind = configMapKeyRef !== undefined ? "configmap" : "secret";
      const data = kind === "configmap" ? sources.configMap(ref.name ?? "") : sources.secret(ref.name ?? "");
      const value = data?.[ref.key];
      if (value !== undefined) env[v.name] = value;
      else if (ref.optional !== true) return { problem: data === undefined ? `${kind} "${ref.name}" not found` : `couldn't find key ${ref.key} in ${kind} ${pod.metadata.namespace}/${ref.name}` };
    }
  }
  for (const [k, value] of Object.entries(env)) if (value.includes("\0") || !ENV_NAME.test(k)) return { problem: `env ${k}: cannot be passed to a process` };
  return { env };
}

/** `NAME_SERVICE_HOST` and friends of one namespace's Services, and always the API server's. */
export function serviceEnv(services: Iterable<Service>, namespace: string, links: boolean): Record<string, string> {
  const env: Record<string, string> = {};
  for (const s of services) {
    const api = s.metadata.namespace === "default" && s.metadata.name === "kubernetes";
    const ip = s.spec.clusterIP;
    const ports = s.spec.ports ?? [];
    const first = ports[0];
    if (ip === undefined || ip === "" || ip === "None" || first === undefined) continue;
    if (!api && !(links && s.metadata.namespace === namespace)) continue;
    const name = s.metadata.name.toUpperCase().replaceAll("-", "_");
    env[`${name}_SERVICE_HOST`] = ip;
    env[`${name}_SERVICE_PORT`] = String(first.port);
    for (const p of ports) if (p.name !== undefined && p.name !== "") env[`${name}_SERVICE_PORT_${p.name.toUpperCase().replaceAll("-", "_")}`] = String(p.port);
    env[`${name}_PORT`] = `${(first.protocol ?? "TCP").toLowerCase()}://${ip}:${first.port}`;
    for (const p of ports) {
      const protocol = p.protocol ?? "TCP";
      const prefix = `${name}_PORT_${p.port}_${protocol}`;
      env[prefix] = `${protocol.toLowerCase()}://${ip}:${p.port}`;
      env[`${prefix}_PROTO`] = protocol.toLowerCase();
      env[`${prefix}_PORT`] = String(p.port);
      env[`${prefix}_ADDR`] = ip;
    }
  }
  return env;
}
