// Owns reading a streaming request: which pod, which streams, which protocol. Pure.

export interface ExecTarget {
  readonly kind: "exec" | "attach";
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly command: readonly string[];
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}
export interface ForwardTarget { readonly kind: "portforward"; readonly namespace: string; readonly pod: string; readonly ports: readonly number[] }
export type StreamTarget = ExecTarget | ForwardTarget;

/** Longest command line that makes sense; a URL is bounded by the HTTP parser anyway. */
const COMMAND_MAX_WORDS = 4096;
const PORTS_MAX = 64;

/** The target of `/exec/NS/POD/CONTAINER?command=…&input=1…`, or why it is none. */
export function readTarget(url: string): StreamTarget | { readonly problem: string; readonly status: number } {
  const { pathname, searchParams: query } = new URL(url, "https://kubelet");
  const parts = pathname.split("/").slice(1);
  let names: string[];
  try {
    names = parts.slice(1).map(decodeURIComponent);
  } catch {
    return { status: 400, problem: `${pathname} is not a valid path` };
  }
  const [namespace = "", pod = "", container = ""] = names;
  if (namespace === "" || pod === "") return { status: 404, problem: "404 page not found" };
  if (parts[0] === "portForward" && names.length === 2) {
    const ports = query.getAll("port").flatMap((p) => p.split(",")).map(Number);
    if (ports.length > PORTS_MAX || ports.some((p) => !isPort(p))) return { status: 400, problem: `port must be up to ${PORTS_MAX} numbers from 1 to 65535` };
    return { kind: "portforward", namespace, pod, ports };
  }
  if ((parts[0] !== "exec" && parts[0] !== "attach") || names.length !== 3) return { status: 404, problem: "404 page not found" };
  const on = (name: string): boolean => ["1", "true"].includes(query.get(name) ?? "");
  const command = query.getAll("command");
  if (parts[0] === "exec" && command.length === 0) return { status: 400, problem: "you must specify at least 1 command" };
  if (command.length > COMMAND_MAX_WORDS) return { status: 400, problem: `the command has more than ${COMMAND_MAX_WORDS} words` };
  const tty = on("tty");
  const target: ExecTarget = { kind: parts[0], namespace, pod, container, command, tty, stdin: on("input"), stdout: on("output"), stderr: on("error") && !tty };
  if (!target.stdin && !target.stdout && !target.stderr) return { status: 400, problem: "you must specify at least 1 of stdin, stdout, stderr" };
  return target;
}

export function isPort(n: number): boolean {
  return Number.isInteger(n) && n >= 1 && n <= 65_535;
}

/** The client's first choice that we speak; a client that offers nothing gets `otherwise`. */
export function negotiate<T extends string>(offered: string | string[] | undefined, spoken: readonly T[], otherwise: T | undefined): T | undefined {
  const names = (Array.isArray(offered) ? offered : [offered ?? ""]).flatMap((h) => h.split(",")).map((n) => n.trim()).filter((n) => n !== "");
  if (names.length === 0) return otherwise;
  return names.map((n) => spoken.find((s) => s === n)).find((n) => n !== undefined);
}

/** Parses concatenated `{"Width":80,"Height":24}` values as Go's encoder writes them; keeps what is incomplete. */
export class ResizeReader {
  #rest = "";

  /** Malformed input gives nothing and is dropped. */
  read(text: string): { columns: number; rows: number }[] {
    const parts = (this.#rest + text).split("}");
    this.#rest = (parts.pop() ?? "").slice(0, RESIZE_MAX_CHARS);
    return parts.flatMap((part) => {
      try {
        const { Width, Height } = JSON.parse(`${part}}`) as { Width?: unknown; Height?: unknown };
        const valid = isPort(Number(Width)) && isPort(Number(Height));
        return valid ? [{ columns: Number(Width), rows: Number(Height) }] : [];
      } catch {
        return [];
      }
    });
  }
}
const RESIZE_MAX_CHARS = 256;

export type Outcome = { readonly exitCode: number } | { readonly problem: string };

/** What the error stream says at the end: v4 and later a Status object, before that text (nothing on success). */
export function describeOutcome(outcome: Outcome, structured: boolean): string {
  const ok = "exitCode" in outcome && outcome.exitCode === 0;
  if (!structured) return ok ? "" : "exitCode" in outcome ? `command terminated with non-zero exit code: ${outcome.exitCode}` : outcome.problem;
  if (ok) return JSON.stringify({ metadata: {}, status: "Success" });
  if ("exitCode" in outcome) {
    return JSON.stringify({
      metadata: {}, status: "Failure", message: `command terminated with non-zero exit code: exit status ${outcome.exitCode}`, reason: "NonZeroExitCode",
      details: { causes: [{ reason: "ExitCode", message: String(outcome.exitCode) }] },
    });
  }
  return JSON.stringify({ metadata: {}, status: "Failure", message: outcome.problem, reason: "InternalError", details: { causes: [{ message: outcome.problem }] }, code: 500 });
}
