// Owns the composition of the API server: its parts, their start in order, and their end.
import { createLogger, LogLevels, systemClock, type Clock, type Logger } from "@ambit/runtime";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensurePki, writeKubeconfig, issueCertificate } from "../pki.ts";
import { Authorizer } from "./auth/authorizer.ts";
import { Tokens } from "./auth/tokens.ts";
import { bootstrap, type Advertised } from "./bootstrap.ts";
import type { Api } from "./context.ts";
import { CRDS, keepCrds } from "./crd/keeper.ts";
import { handle } from "./http/dispatch.ts";
import { listen, type Address, type Listening } from "./http/listener.ts";
import { Allocators } from "./kinds/service-allocation.ts";
import { KubeletDialer } from "./proxy/kubelet.ts";
import { handleUpgrade } from "./proxy/upgrade.ts";
import { coreRows } from "./registry/core.ts";
import { otherRows } from "./registry/other.ts";
import { Registry } from "./registry/registry.ts";
import { reviewRows } from "./registry/reviews.ts";
import { webhookRows } from "./registry/webhooks.ts";
import { workloadRows } from "./registry/workloads.ts";
import { forgetfulLog, openLog } from "./storage/log.ts";
import { Pages } from "./storage/pages.ts";
import { Store } from "./storage/store.ts";
import { startUpkeep } from "./upkeep.ts";

export interface ApiServerOptions {
  /** Folder of the write-ahead log; without it nothing outlives the server. */
  readonly dataDir?: string;
  /** Folder of the certificates, made when missing; without it a temporary one that goes with the server. */
  readonly pkiDir?: string;
  /** TCP addresses; 127.0.0.1 on a free port by default. */
  readonly listen?: readonly { readonly host: string; readonly port: number }[];
  /** Path of a unix socket that serves the same TLS. */
  readonly unixPath?: string;
  readonly serviceCidr?: string;
  /** Where pods reach this server: the endpoint of the `kubernetes` Service. */
  readonly advertise?: Advertised;
  /** Nodes for which kubelet credentials are made beside the others. */
  readonly nodes?: readonly string[];
  readonly log?: Logger;
  readonly clock?: Clock;
}

export interface RunningApiServer {
  /** https URL of the first TCP address. */
  readonly url: string;
  /** PEM of the certificate authority. */
  readonly ca: string;
  readonly pkiDir: string;
  /** A kubeconfig of a member of system:masters, with `url` as its server. */
  readonly adminKubeconfig: string;
  /** Writes a kubeconfig for any user and groups, with `url` as its server. */
  writeKubeconfig(path: string, user: string, groups?: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

export async function startApiServer(options: ApiServerOptions = {}): Promise<RunningApiServer> {
  const temporary = options.pkiDir === undefined ? mkdtempSync(join(tmpdir(), "ambit-apiserver-")) : null;
  const pkiDir = options.pkiDir ?? (temporary as string);
  await ensurePki(pkiDir, { nodes: options.nodes ?? [] });
  const read = (name: string) => readFileSync(join(pkiDir, name), "utf8");
  const ca = read("ca.crt");
  const closing = new AbortController();
  const api = openApi(options, read, closing.signal);
  const crdRow = api.registry.byBucket(CRDS);
  if (crdRow === undefined) throw new Error("the registry has no CustomResourceDefinitions");
  await bootstrap(api, options.advertise ?? { ip: "172.30.0.1", port: 6443 });
  keepCrds(api, crdRow);
  const upkeep = startUpkeep(api);

  const addresses: Address[] = [...(options.listen ?? [{ host: "127.0.0.1", port: 0 }])];
  if (options.unixPath !== undefined) addresses.push({ path: options.unixPath });
  const listeners: Listening[] = [];
  for (const address of addresses) {
    const listener = await listen(
      {
        key: read("apiserver.key"),
        cert: read("apiserver.crt"),
        clientCa: ca,
        onRequest: (request, response) => void handle(api, request, response),
        onUpgrade: (request, socket, head) => void handleUpgrade(api, request, socket, head),
      },
      address,
    );
    listeners.push(listener);
    api.log.info("listening", "path" in address ? { path: address.path } : { host: address.host, port: listener.port });
  }
  const first = addresses[0] as { host: string };
  const url = `https://${first.host}:${listeners[0]?.port ?? 0}`;
  const adminKubeconfig = join(temporary ?? pkiDir, "admin.local.kubeconfig");
  const write = async (path: string, user: string, groups: readonly string[] = []) => {
    const made = await issueCertificate(pkiDir, { commonName: user, organizations: groups, usage: "client" });
    writeKubeconfig(path, { server: url, ca, user, key: made.key, cert: made.cert });
  };
  await write(adminKubeconfig, "kubernetes-admin", ["system:masters"]);
  api.log.info("ready");
  return {
    url,
    ca,
    pkiDir,
    adminKubeconfig,
    writeKubeconfig: write,
    async close() {
      closing.abort();
      upkeep.cancel();
      await Promise.all(listeners.map((listener) => listener.close()));
      api.store.close();
      if (temporary !== null) rmSync(temporary, { recursive: true, force: true });
    },
  };
}

function openApi(options: ApiServerOptions, read: (name: string) => string, closing: AbortSignal): Api {
  const log = options.log ?? createLogger("apiserver", { levels: new LogLevels("error") });
  const clock = options.clock ?? systemClock;
  const now = () => clock.now();
  const store = new Store(forgetfulLog);
  if (options.dataDir !== undefined) {
    const opened = openLog(options.dataDir, (record) => store.replay(record));
    if (opened.tornBytes > 0) log.warn("cut an unfinished last line off the log", { bytes: opened.tornBytes });
    store.useLog(opened.log);
    store.compactIfDue();
  }
  return {
    store,
    registry: new Registry([...coreRows, ...workloadRows, ...otherRows, ...reviewRows, ...webhookRows]),
    authorizer: new Authorizer(store),
    tokens: new Tokens(read("sa.key"), store, now),
    pages: new Pages(now),
    allocators: new Allocators(store, options.serviceCidr ?? "10.96.0.0/16"),
    kubelet: new KubeletDialer({
      ca: read("ca.crt"),
      cert: read("apiserver-kubelet-client.crt"),
      key: read("apiserver-kubelet-client.key"),
    }),
    log,
    clock,
    now,
    closing,
  };
}
