// Owns Kubernetes' Pod Security Standards as a judge of pod specs: what "baseline" and "restricted" forbid (v1.35), without a cluster.

interface SecurityContext {
  privileged?: boolean; allowPrivilegeEscalation?: boolean; runAsNonRoot?: boolean; runAsUser?: number; procMount?: string;
  capabilities?: { add?: string[]; drop?: string[] }; seccompProfile?: { type?: string }; appArmorProfile?: { type?: string }; seLinuxOptions?: { type?: string; user?: string; role?: string };
}
interface Container { name: string; ports?: { hostPort?: number }[]; securityContext?: SecurityContext }
export interface PodSpecLike {
  hostNetwork?: boolean; hostPID?: boolean; hostIPC?: boolean; securityContext?: SecurityContext & { sysctls?: unknown[] };
  volumes?: ({ name: string } & Record<string, unknown>)[]; containers: Container[]; initContainers?: Container[];
}

const BASELINE_CAPABILITIES = new Set(["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"]);
const RESTRICTED_VOLUMES = new Set(["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"]);
const SELINUX_TYPES = new Set(["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"]);

/** One line for each thing that the level forbids: `control: detail`, sorted; restricted holds baseline's, too. */
export function podSecurityViolations(spec: PodSpecLike, level: "baseline" | "restricted"): string[] {
  const out: string[] = [];
  const containers = [...spec.containers, ...(spec.initContainers ?? [])];
  const contexts = [spec.securityContext, ...containers.map((c) => c.securityContext)];
  for (const name of ["hostNetwork", "hostPID", "hostIPC"] as const) if (spec[name] === true) out.push(`host namespaces: ${name}`);
  for (const v of spec.volumes ?? []) if (v["hostPath"] !== undefined) out.push(`host paths: ${String((v["hostPath"] as { path?: unknown }).path)}`);
  if ((spec.securityContext?.sysctls ?? []).length > 0) out.push("sysctls: set");
  for (const c of contexts) {
    if (c?.seccompProfile?.type === "Unconfined") out.push("seccomp: Unconfined");
    if (c?.appArmorProfile?.type === "Unconfined") out.push("AppArmor: Unconfined");
    if (c?.seLinuxOptions !== undefined && (!SELINUX_TYPES.has(c.seLinuxOptions.type ?? "") || c.seLinuxOptions.user !== undefined || c.seLinuxOptions.role !== undefined)) out.push(`SELinux: ${c.seLinuxOptions.type ?? "user or role"}`);
  }
  for (const c of containers) {
    const s = c.securityContext ?? {};
    if (s.privileged === true) out.push("privileged: true");
    if (s.procMount !== undefined && s.procMount !== "Default") out.push(`procMount: ${s.procMount}`);
    for (const p of c.ports ?? []) if ((p.hostPort ?? 0) !== 0) out.push(`host ports: ${p.hostPort ?? 0}`);
    for (const name of s.capabilities?.add ?? []) if (!BASELINE_CAPABILITIES.has(name) || (level === "restricted" && name !== "NET_BIND_SERVICE")) out.push(`capabilities: ${name}`);
    if (level === "baseline") continue;
    if (!(s.capabilities?.drop ?? []).includes("ALL")) out.push("capabilities: ALL is not dropped");
    if (s.allowPrivilegeEscalation !== false) out.push("privilege escalation: allowed");
    if ((s.runAsNonRoot ?? spec.securityContext?.runAsNonRoot) !== true) out.push("running as root: not forbidden");
    if ((s.runAsUser ?? spec.securityContext?.runAsUser) === 0) out.push("running as root: user 0");
    if (!["RuntimeDefault", "Localhost"].includes(s.seccompProfile?.type ?? spec.securityContext?.seccompProfile?.type ?? "")) out.push("seccomp: no profile");
  }
  if (level === "restricted") for (const { name, ...source } of spec.volumes ?? []) for (const kind of Object.keys(source)) if (kind !== "hostPath" && !RESTRICTED_VOLUMES.has(kind)) out.push(`volumes: ${name} is ${kind}`);
  return [...new Set(out)].sort();
}
