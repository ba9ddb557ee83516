// Owns running one command for a client, whatever protocol carries its streams.
import { PassThrough, type Readable, type Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { errorText } from "@ambit/runtime";
import type { Runtime } from "../runtime.ts";
import { describeOutcome, ResizeReader, type ExecTarget, type Outcome } from "./request.ts";

/** The client's ends of the streams it asked for. */
export interface ClientStreams {
  readonly stdin?: Readable;
  readonly stdout?: Writable;
  readonly stderr?: Writable;
  readonly resize?: Readable;
  readonly error: Writable;
}

/** `structured`: the outcome as a Status object (v4 and later). Runs to the end and tells the client how it ended; never throws. `signal` aborts when the client goes away. */
export async function runExec(runtime: Runtime, target: ExecTarget, streams: ClientStreams, structured: boolean, signal: AbortSignal): Promise<Outcome> {
  const stdout = streams.stdout && through(streams.stdout);
  const stderr = streams.stderr && through(streams.stderr);
  const output = { ...(stdout === undefined ? {} : { stdout }), ...(stderr === undefined ? {} : { stderr }) };
  const outcome = await execute(runtime, target, streams, output, signal);
  if (signal.aborted) return outcome;
  await Promise.all([ended(stdout, streams.stdout), ended(stderr, streams.stderr)]);
  streams.error.write(describeOutcome(outcome, structured));
  await ended(undefined, streams.error);
  return outcome;
}

interface Output { readonly stdout?: Writable; readonly stderr?: Writable }

async function execute(runtime: Runtime, target: ExecTarget, streams: ClientStreams, output: Output, signal: AbortSignal): Promise<Outcome> {
  try {
    if (target.kind === "attach") {
      return { problem: "attach is not supported by the lab: its containers have no terminal; use `kubectl logs -f` or `kubectl exec`" };
    }
    const { namespace, pod, container, command, tty } = target;
    const name = container === "" ? runtime.defaultContainer({ namespace, pod }) : container;
    const session = runtime.execInContainer({ namespace, pod, container: name }, {
      command, tty, signal, ...output, ...(streams.stdin === undefined ? {} : { stdin: streams.stdin }),
    });
    const sizes = new ResizeReader();
    streams.resize?.on("data", (chunk: Buffer) => {
      for (const { columns, rows } of sizes.read(chunk.toString("utf8"))) session.resize(columns, rows).catch(() => undefined);
    });
    return await session.done;
  } catch (error) {
    return { problem: `error executing command in container: ${errorText(error)}` };
  }
}

/** What the command writes into, with the client's stream behind it. */
function through(to: Writable): PassThrough {
  const pass = new PassThrough();
  pass.pipe(to);
  // Once the client is gone the output has nowhere to go, and the command must not block on it.
  to.on("close", () => { pass.unpipe(to); pass.resume(); });
  return pass;
}

async function ended(pass: Writable | undefined, stream: Writable | undefined): Promise<void> {
  if (stream === undefined) return;
  (pass ?? stream).end();
  // Ended or destroyed: either way there is nothing more to wait for. A reader that takes its time may be a person; the connection's idle limit ends who does not come back.
  await finished(stream, { readable: false }).catch(() => undefined);
}
