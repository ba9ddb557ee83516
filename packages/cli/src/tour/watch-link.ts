// Owns listening on the link between two nodes of the lab with tcpdump.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { enterCommand, type LabRecord } from "@ambit/lab/supervisor";
import { segments, type Segment } from "./pcap.ts";

/** A tour's capture is seconds of small requests. */
const CAPTURE_MAX_BYTES = 64 * 1024 * 1024;

export class LinkWatch {
  readonly #child: ChildProcess;
  readonly #chunks: Buffer[] = [];
  #size = 0;

  /** The fabric's port of node 1 carries everything that node says to others. Resolves once tcpdump listens. */
  static async start(lab: LabRecord, filter: string): Promise<LinkWatch> {
    const [program = "", ...args] = enterCommand(lab, undefined, ["tcpdump", "-i", "port-1", "-s", "0", "-U", "-n", "-w", "-", filter]);
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    const watch = new LinkWatch(child);
    let errors = "";
    await new Promise<void>((resolve, reject) => {
      child.stderr?.on("data", (b: Buffer) => {
        errors += b.toString("utf8");
        if (errors.includes("listening on")) resolve();
      });
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`tcpdump did not start: ${errors.trim()}`)));
    });
    return watch;
  }

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on("data", (b: Buffer) => {
      this.#size += b.length;
      if (this.#size <= CAPTURE_MAX_BYTES) this.#chunks.push(b);
    });
  }

  /** What was seen until now. */
  seen(): Segment[] {
    return segments(Buffer.concat(this.#chunks));
  }

  async stop(): Promise<Segment[]> {
    const over = once(this.#child, "close");
    if (this.#child.exitCode === null) this.#child.kill("SIGTERM");
    await over;
    return this.seen();
  }
}
