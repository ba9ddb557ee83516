// Owns listening on the link between two nodes; in the lab with tcpdump or, in a user namespace, a few lines of perl.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { enterCommand, type LabRecord } from "@ambit/lab/supervisor";
import { segments, type Segment } from "./pcap.ts";

/** A tour's capture is seconds of small requests. */
const CAPTURE_MAX_BYTES = 64 * 1024 * 1024;
const LINK = "port-1";
/**
 * A packet socket (protocol ETH_P_ALL) bound to the link, written out as tcpdump does: tcpdump itself insists on becoming another
 * user when it is root, which a user namespace with one user cannot do. Perl is on every Debian; 0x8933 is SIOCGIFINDEX.
 */
const SNIFFER = String.raw`
  socket(S, 17, 3, 0x0300) or die "packet socket: $!\n"; ioctl(S, 0x8933, $r = pack("a16x16", $ARGV[0])) or die "no link $ARGV[0]: $!\n";
  bind(S, pack("SnlSCCa8", 17, 3, unpack("x16i", $r), 0, 0, 0, "")) or die "bind: $!\n";
  $| = 1; print "\0" x 24; print STDERR "listening on $ARGV[0]\n";
  while (defined recv(S, $b, 262144, 0)) { print pack("LLLL", time, 0, length $b, length $b), $b }`;

/** The fabric's port of node 1 carries everything that node says to others. */
export const listenInLab = (lab: LabRecord): string[] =>
  enterCommand(lab, undefined, lab.rootless ? ["perl", "-e", SNIFFER, LINK] : ["tcpdump", "-i", LINK, "-s", "0", "-U", "-n", "-w", "-", "tcp"]);

export class LinkWatch {
  readonly #child: ChildProcess;
  readonly #chunks: Buffer[] = [];
  #size = 0;

  /** Resolves once it is listened to. */
  static async start(listen: readonly string[]): Promise<LinkWatch> {
    const [program = "", ...args] = listen;
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    const watch = new LinkWatch(child);
    let errors = "";
    await new Promise<void>((resolve, reject) => {
      child.stderr?.on("data", (b: Buffer) => {
        errors += b.toString("utf8");
        if (errors.includes("listening on")) resolve();
      });
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`${program} cannot listen on the link: ${errors.trim()}`)));
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
