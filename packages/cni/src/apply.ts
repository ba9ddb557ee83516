// Owns writing and removing redirection inside a pod's namespace, and the node's probe rule.
import { spawn } from "node:child_process";
import { hostKernel, type Netns } from "@ambit/linux";
import { renderHostCleanup, renderHostProbe, type HostProbe } from "./rules/host-probe.ts";
import { renderPodCleanup, renderPodRules, renderRouting, renderRoutingCleanup, type PodRules } from "./rules/inpod.ts";

const COMMAND_TIMEOUT_MS = 10_000;

/**
 * When ztunnel is replaced, connections that are being opened at that moment move to its successor's listeners instead of being
 * reset. ztunnel itself has no write access to sysctls. Kernels before 5.14 do without.
 */
const MIGRATE_HANDSHAKES = "{ echo 1 > /proc/sys/net/ipv4/tcp_migrate_req; } 2> /dev/null || true";

/** Routes before rules: marked packets must have somewhere to go. Safe to repeat. */
export async function applyPodRules(netns: Netns, rules: PodRules): Promise<void> {
  const script = `${MIGRATE_HANDSHAKES}\n${renderRouting(rules)}\nexec nft -f -`;
  await hostKernel.run(netns, ["sh", "-e", "-c", script], renderPodRules(rules));
}

export async function removePodRules(netns: Netns, rules: PodRules): Promise<void> {
  await hostKernel.run(netns, ["sh", "-c", `nft -f - && { ${renderRoutingCleanup(rules)}; }`], renderPodCleanup());
}

/** The node's table is small and replaced whole; calls run one after the other, the last wins. */
export class HostProbeRules {
  readonly #host: HostProbe;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(host: HostProbe) {
    this.#host = host;
  }

  set(podIps: readonly string[]): Promise<void> {
    return this.#run(renderHostProbe(this.#host, podIps));
  }

  remove(): Promise<void> {
    return this.#run(renderHostCleanup());
  }

  #run(ruleset: string): Promise<void> {
    const turn = this.#queue.then(() => nft(ruleset));
    this.#queue = turn.catch(() => undefined);
    return turn;
  }
}

function nft(ruleset: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn("nft", ["-f", "-"], { stdio: ["pipe", "ignore", "pipe"], timeout: COMMAND_TIMEOUT_MS });
    let errors = "";
    child.stderr.on("data", (b: Buffer) => { errors = (errors + b.toString("utf8")).slice(-4096); });
    child.on("error", (cause) => reject(new Error("cannot run nft", { cause })));
    child.on("close", (code) => (code === 0 ? resolve() : reject(new Error(`nft failed: ${errors.trim()}`))));
    child.stdin.on("error", () => undefined);
    child.stdin.end(ruleset);
  });
}
