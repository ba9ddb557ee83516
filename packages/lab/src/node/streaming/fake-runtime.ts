// Owns a stand-in for the node's runtime in tests: commands run on this machine, ports are this machine's. Not used by the product.
import { spawn } from "node:child_process";
import { connect } from "node:net";
import { RuntimeRefusal, type Runtime } from "../runtime.ts";

export interface FakeRuntime extends Runtime { readonly resized: [number, number][]; readonly running: () => number }

export function fakeRuntime(): FakeRuntime {
  const resized: [number, number][] = [];
  let running = 0;
  return {
    resized, running: () => running,
    defaultContainer: () => "main",
    execInContainer(ref, options) {
      if (ref.container !== "main") throw new RuntimeRefusal(`container ${ref.container} is not running`);
      const [file = "", ...args] = options.command;
      running += 1;
      const child = spawn(file, args, { stdio: "pipe", signal: options.signal, killSignal: "SIGKILL" });
      child.stdin.on("error", () => undefined);
      if (options.stdin === undefined) child.stdin.end();
      else options.stdin.pipe(child.stdin);
      if (options.stdout === undefined) child.stdout.resume();
      else child.stdout.pipe(options.stdout, { end: false });
      if (options.stderr === undefined) child.stderr.resume();
      else child.stderr.pipe(options.stderr, { end: false });
      const done = new Promise<{ exitCode: number }>((resolve, reject) => {
        child.on("error", (error) => { running -= 1; reject(error); });
        child.on("close", (code) => { running -= child.pid === undefined ? 0 : 1; resolve({ exitCode: code ?? 137 }); });
      });
      return { done, resize: async (columns, rows) => { resized.push([columns, rows]); } };
    },
    connectInPod: (_ref, port) => connect({ port, host: "127.0.0.1", allowHalfOpen: true }),
  };
}
