// Owns cluster DNS's command line: finds the API server as any pod does, serves DNS, health and metrics.
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { parseArgs } from "node:util";
import { KubeClient, loadClientConfig } from "@ambit/kube";
import { commonRoutes, createLogger, LogLevels, Metrics, Readiness, runMain, serveHttp, systemClock } from "@ambit/runtime";
import { makeForwarder, parseNameservers } from "./forward.ts";
import { followServices } from "./kube-view.ts";
import { serveDns } from "./server.ts";

const { values } = parseArgs({
  options: {
    kubeconfig: { type: "string" }, domain: { type: "string", default: "cluster.local" }, host: { type: "string", default: "0.0.0.0" },
    port: { type: "string", default: "53" }, "admin-port": { type: "string", default: "8181" },
    "resolv-conf": { type: "string", default: "/etc/resolv.conf" }, "log-level": { type: "string", default: "info" },
  },
});
const levels = new LogLevels(values["log-level"]);
const log = createLogger("dns", { levels });

await runMain(log, async () => {
  const client = new KubeClient(loadClientConfig(values.kubeconfig === undefined ? {} : { kubeconfig: values.kubeconfig }));
  const metrics = new Metrics();
  const answered = metrics.counter("dns_answers_total", "Questions answered, by protocol and response code.");
  const readiness = new Readiness();
  const synced = readiness.waitFor("services are known");
  const admin = await serveHttp("0.0.0.0", Number(values["admin-port"]), commonRoutes({ readiness, metrics, levels }));
  const view = followServices(client, log, Math.floor(systemClock.now() / 1000));
  // An answer from half a view would be a wrong NXDOMAIN that clients remember.
  await view.synced;
  const own = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((i) => i.address));
  const forwarder = makeForwarder(upstreams(values["resolv-conf"], [...own, "10.96.0.10"]), systemClock);
  const server = await serveDns({
    host: values.host, port: Number(values.port), view, forwarder, log, zone: () => ({ domain: values.domain, serial: view.serial }),
    onAnswer: (protocol, rcode) => answered.with({ protocol, rcode: String(rcode) }).inc(),
  });
  synced();
  log.info("dns ready", { port: server.port, upstreams: forwarder.servers });
  return {
    drain: async () => {
      await server.close();
      await view.stop();
      await admin.close();
      client.close();
    },
  };
});

function upstreams(path: string, self: readonly string[]): string[] {
  try {
    return parseNameservers(readFileSync(path, "utf8"), self);
  } catch {
    return [];
  }
}
