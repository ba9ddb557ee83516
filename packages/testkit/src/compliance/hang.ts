// A thread of a process that hangs: loaded before it in every thread, as ….ts?thread=main&file=PATH; from when the file exists those threads' loops are held.
import { existsSync } from "node:fs";
import { isMainThread } from "node:worker_threads";

const of = new URL(import.meta.url).searchParams;
const file = of.get("file") ?? "";
if (isMainThread === (of.get("thread") === "main")) setInterval(() => {
  while (existsSync(file));
}, 20).unref();
