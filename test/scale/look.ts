// Looks at a process's /healthz without pause, from a process of its own; at the end of its stdin says how long the longest look took: `look.ts PORT`.
import { Agent, request } from "node:http";

const port = Number(process.argv[2]);
const LOOK_EVERY_MS = 2;
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const get = (): Promise<void> => new Promise((resolve, reject) => {
  request({ host: "127.0.0.1", port, path: "/healthz", agent }, (res) => { res.resume(); res.once("end", resolve); }).on("error", reject).end();
});
let longest = 0;
process.stdin.resume().on("end", () => { process.stdout.write(`${longest}\n`, () => process.exit(0)); });
await get(); // the connection itself does not count
process.stdout.write("looking\n");
for (;;) {
  const began = performance.now();
  await get();
  longest = Math.max(longest, performance.now() - began);
  await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
}
