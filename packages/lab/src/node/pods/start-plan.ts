// Owns what one run of a container consists of: its environment, command, privileges and mounts, from the pod, the image and the node.
import { join } from "node:path";
import { SYSTEM_PATH } from "../command.ts";
import type { StartPlan } from "../container.ts";
import { homeOf, imageUser, type Image } from "../images/store.ts";
import { buildEnv, expand, serviceEnv } from "../plan/env.ts";
import type { Bind } from "../plan/init-script.ts";
import { hostnameOf } from "../plan/names.ts";
import type { ContainerSpec } from "../plan/pod-spec.ts";
import { privilegesOf } from "../plan/privileges.ts";
import type { PodContext } from "./context.ts";

export interface RunPlace { readonly attempt: number; readonly dir: string; readonly logFile: string }

/** Throws with words for the pod's status when something it needs is missing or wrong. */
export function planStart(ctx: PodContext, spec: ContainerSpec, image: Image, place: RunPlace): StartPlan {
  const { ports, volumes } = ctx;
  const pod = ctx.pod();
  const namespace = pod.metadata.namespace ?? "";
  const imageRoot = image.root === undefined ? undefined : join(ports.images, image.root);
  const privileges = privilegesOf(pod, spec, imageUser(image, imageRoot ?? "/"), ports.ids);
  if ("problem" in privileges) throw new Error(privileges.problem);
  if (privileges.note !== undefined) ports.events.report(pod, "Warning", "OneUser", privileges.note, spec.name);
  const built = buildEnv(pod, spec, image.env, {
    configMap: (name) => asText(ports.objects.configMap(namespace, name)),
    secret: (name) => asText(ports.objects.secret(namespace, name)),
    services: serviceEnv(ports.services(), namespace, pod.spec.enableServiceLinks !== false),
    node: { nodeName: ports.nodeName, hostIP: ports.hostIP, podIP: ctx.podIP(), cpuMillis: ports.cpuMillis, memoryBytes: ports.memoryBytes },
  });
  if ("problem" in built) throw new Error(built.problem);
  const hostname = hostnameOf(pod, ports.nodeName);
  const env: Record<string, string> = { PATH: SYSTEM_PATH, HOME: homeOf(imageRoot ?? "/", privileges.uid), HOSTNAME: hostname, ...built.env };
  const lookup = (name: string) => env[name];
  const cwd = spec.workingDir !== undefined && spec.workingDir !== "" ? expand(spec.workingDir, lookup) : image.workingDir;
  return {
    dir: place.dir, name: spec.name, attempt: place.attempt, imageId: image.id, imageRoot, netns: ctx.netns(), hostname,
    privileged: privileges.privileged, readOnlyRoot: spec.securityContext?.readOnlyRootFilesystem === true,
    process: { setpriv: privileges.setpriv, cwd, env, argv: argvOf(spec, image, lookup) },
    binds: bindsOf(ctx.dir, volumes.binds(spec, env), image),
    terminationMessagePath: spec.terminationMessagePath ?? "/dev/termination-log",
    logFile: place.logFile,
  };
}

/** `command` replaces the image's entry point and its arguments; `args` only its arguments. */
function argvOf(spec: ContainerSpec, image: Image, lookup: (name: string) => string | undefined): string[] {
  const entry = spec.command?.map((a) => expand(a, lookup));
  const args = spec.args?.map((a) => expand(a, lookup));
  const argv = entry !== undefined ? [...entry, ...(args ?? [])] : [...image.entrypoint, ...(args ?? image.cmd)];
  if (argv.length === 0) throw new Error(`no command specified: neither the container nor the image "${image.name}" names one`);
  return argv;
}

function bindsOf(podDir: string, mounted: readonly Bind[], image: Image): Bind[] {
  const etc = ["hosts", "hostname", "resolv.conf"].map((file): Bind => ({ source: join(podDir, "etc", file), target: `/etc/${file}`, readOnly: false, file: true, propagate: false }));
  // A clone below /tmp and a pod with a volume on /tmp: the program must stay where its command says it is.
  const hidden = (image.keep ?? []).filter((k) => mounted.some((m) => !m.file && (k === m.target || k.startsWith(`${m.target}/`))));
  const kept = hidden.map((k): Bind => ({ source: k, target: k, readOnly: true, file: false, propagate: false }));
  return [...etc.filter((b) => !mounted.some((m) => m.target === b.target)), ...mounted, ...kept];
}

const asText = (data: Readonly<Record<string, Uint8Array>> | undefined): Record<string, string> | undefined =>
  data === undefined ? undefined : Object.fromEntries(Object.entries(data).map(([k, v]) => [k, Buffer.from(v).toString("utf8")]));
