// Owns the log writer's process: it reads containers' output pipes and outlives the kubelet, so that no container ever waits for one.
import { serveLogRequests } from "./log-writer.ts";

const dir = process.argv[2];
if (dir === undefined) {
  process.stderr.write("usage: main.ts REQUEST-FOLDER\n");
  process.exit(2);
}
serveLogRequests(dir);
