// Owns the node's own rule for host probes: the addresses of captured pods, written, compared and repaired.
import { spawn } from "node:child_process";
import { HOST_INSPECTION, renderHostCleanup, renderHostProbe, type HostProbe } from "./rules/host-probe.ts";

const COMMAND_TIMEOUT_MS = 10_000;
/** A table of some hundred addresses is a few kilobytes. */
const OUTPUT_MAX_BYTES = 1024 * 1024;

const SCRIPT = ["-f", "-"] as const;

/** Runs nft on the node and resolves with what it printed. */
export type RunNft = (args: readonly string[], script?: string) => Promise<string>;

/** The table is replaced whole. Calls that meet while nft runs become one. */
export class HostProbeRules {
  readonly #host: HostProbe;
  readonly #nft: RunNft;
  #wanted: readonly string[] = [];
  #written: string | undefined;
  #standing: string | undefined;
  #next: Promise<void> | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(host: HostProbe, nft: RunNft = runNft) {
    this.#host = host;
    this.#nft = nft;
  }

  /** Resolves when the node's set is this one, or a later one. */
  set(podIps: readonly string[]): Promise<void> {
    this.#wanted = podIps;
    this.#next ??= this.#inTurn(async () => {
      this.#next = undefined;
      await this.#write();
    });
    return this.#next;
  }

  /** True when somebody had changed the node's rule; it is as it should be afterwards. */
  verify(): Promise<boolean> {
    return this.#inTurn(async () => {
      if (this.#standing === undefined) return false;
      const found = await this.#nft(HOST_INSPECTION).catch(() => "");
      if (found === this.#standing) return false;
      this.#written = undefined;
      await this.#write();
      return true;
    });
  }

  remove(): Promise<void> {
    return this.#inTurn(async () => { await this.#nft(SCRIPT, renderHostCleanup()); });
  }

  async #write(): Promise<void> {
    const ruleset = renderHostProbe(this.#host, this.#wanted);
    if (ruleset === this.#written) return;
    this.#written = undefined;
    this.#standing = undefined;
    await this.#nft(SCRIPT, ruleset);
    this.#written = ruleset;
    // Nobody who waits for the rule waits for this.
    void this.#inTurn(async () => { this.#standing = await this.#nft(HOST_INSPECTION); }).catch(() => undefined);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work);
    this.#queue = turn.catch(() => undefined);
    return turn;
  }
}

function runNft(args: readonly string[], script = ""): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("nft", args, { stdio: ["pipe", "pipe", "pipe"], timeout: COMMAND_TIMEOUT_MS });
    let out = "";
    let errors = "";
    child.stdout.on("data", (b: Buffer) => { if (out.length < OUTPUT_MAX_BYTES) out += b.toString("latin1"); });
    child.stderr.on("data", (b: Buffer) => { errors = (errors + b.toString("utf8")).slice(-4096); });
    child.on("error", (cause) => reject(new Error("cannot run nft", { cause })));
    child.on("close", (code) => (code === 0 ? resolve(out) : reject(new Error(`nft failed: ${errors.trim()}`))));
    child.stdin.on("error", () => undefined);
    child.stdin.end(script);
  });
}
