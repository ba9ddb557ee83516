// Composition root of the control plane: sources → collections → push, beside it the authority; returns what is bound and how it ends.
import { loadClientConfig, type ClientConfig } from "@ambit/kube";
import { commonRoutes, LogLevels, Metrics, Readiness, serveHttp, systemClock, systemRandom, text, watchDescriptors, type BoundServer, type Clock, type Logger, type Routes } from "@ambit/runtime";
import { createXdsServer } from "@ambit/xds";
import { serveAdmission } from "./admission/server.ts";
import type { Authority } from "./ca/authority.ts";
import { keepAuthority, type AuthorityKeeper } from "./ca/keeper.ts";
import { createCaService } from "./ca/service.ts";
import { createServingCertificate, servingNames } from "./ca/serving.ts";
import type { ReviewToken } from "./ca/token-review.ts";
import { buildMesh, type Mesh } from "./collections/graph.ts";
import type { Config } from "./config.ts";
import { guardedRoutes, loopbackRoutes, type Debugging } from "./debug/http.ts";
import { debugRoutes } from "./debug/routes.ts";
import { createDebugService } from "./debug/service.ts";
import { fetchDocument } from "./jwks/fetch.ts";
import { addressGuard } from "./jwks/guard.ts";
import { keepKeys } from "./jwks/keeper.ts";
import { onFiles } from "./platform/files.ts";
import { onKubernetes } from "./platform/kubernetes.ts";
import type { RunningSources } from "./platform/platform.ts";
import { podLookup } from "./pod-lookup.ts";
import { addressSource } from "./push/address.ts";
import { auditServed } from "./push/audit.ts";
import { authorizationSource } from "./push/authorization.ts";
import { createTicker } from "./push/debounce.ts";
import { startGrpc } from "./push/service.ts";
import { sessionSecrets, waypointConfigSource } from "./push/waypoint-config.ts";
import { trackEnforcement } from "./status/enforcement.ts";
import { VERSION, VERSION_TEXT } from "./version.ts";
import { createInbox } from "./sources/inbox.ts";

export interface AppOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly levels: LogLevels;
  /** Default: in-cluster, KUBECONFIG, ~/.kube/config; unused with AMBIT_CONFIG_DIR. */
  readonly cluster?: ClientConfig;
  readonly clock?: Clock;
}

export interface App {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly monitoringPort: number;
  readonly debugPort: number;
  /** Undefined: no admission webhook is served. */
  readonly httpsPort: number | undefined;
  readonly mesh: Mesh;
  readonly rootsPem: string;
  readonly authority: AuthorityKeeper;
  readonly readiness: Readiness;
  drain(): Promise<void>;
}

/** A kind that cannot be listed (rights, a broken definition), or a file with a mistake, keeps us from being ready: its name must be seen. */
const WAITING_EVERY_MS = 10_000;

export async function build(o: AppOptions): Promise<App> {
  const { config, log } = o;
  const clock = o.clock ?? systemClock;
  const metrics = new Metrics();
  watchDescriptors(metrics);
  const readiness = new Readiness();
  const synced = readiness.waitFor("sources synced");
  const serving = readiness.waitFor("authority and gRPC");
  const over = new AbortController();
  const ending: (() => Promise<void> | void)[] = [() => over.abort(new Error("draining"))];
  const platform = config.configDir === "" ? onKubernetes({ config, cluster: o.cluster ?? loadClientConfig(), clock, log, signal: over.signal }) : onFiles({ config, clock, log });
  const drain = async (): Promise<void> => {
    for (const end of ending) await end();
    platform.close();
  };
  try {
    const settings = { rootNamespace: config.namespace, trustDomain: config.trustDomain, clusterId: config.clusterId, clusterDomain: config.clusterDomain, revision: config.revision, waypointOnly: config.waypointOnly };
    const mesh = buildMesh(settings);
    mesh.scope.onChange((changes) => {
      for (const { after } of changes)
        if (after !== undefined) log.info("mesh settings", { trust_domain: after.trustDomain, aliases: after.trustDomainAliases.join(), revisions: after.revisions.join(), discovery_selectors: after.config.discoverySelectors.length, without_effect: after.config.withoutEffect.join() });
    });
    const inbox = createInbox(mesh, log.child("sources"));
    const ticker = createTicker(clock);
    const common = commonRoutes({ readiness, metrics, levels: o.levels });
    const bind = async (host: string, port: number, routes: Routes): Promise<BoundServer> => {
      const server = await serveHttp(host, port, routes);
      ending.push(() => server.close());
      return server;
    };
    const http = await bind(config.host, config.httpPort, pick(common, ["GET /ready", "GET /healthz"]));
    let debugging: Debugging | undefined;
    const monitoring = await bind(config.host, config.monitoringPort, { ...pick(common, ["GET /metrics", "GET /healthz"]), ...guardedRoutes(() => debugging, config.namespace), "GET /version": () => text(VERSION_TEXT) });

    const keeper = await keepAuthority({ source: platform.authority, clock, log: log.child("ca"), metrics });
    ending.push(() => keeper.close());
    const authority = (): Authority => keeper.current();
    const certificate = await createServingCertificate({ authority, dnsNames: servingNames(config.namespace, config.revision), clock, log: log.child("ca") });
    ending.push(() => certificate.close());
    const ca = createCaService({
      authority, clusterId: config.clusterId, get trustDomains() { return trustDomainsOf(mesh, config); },
      trustedNodeAccounts: new Set(config.trustedNodeAccounts.split(",").map((a) => a.trim()).filter((a) => a !== "")),
      reviewToken: onceReady(readiness, platform.reviewToken(mesh)), pods: podLookup(mesh), clock, log: log.child("ca"), metrics,
    });
    const services = metrics.gauge("pilot_services", "Services known to the mesh, ServiceEntry hosts included.");
    metrics.gauge("pilot_info", "Which control plane this is.").with({ version: VERSION }).set(1);
    metrics.gauge("istio_build", "Which control plane this is, as Istio's tools ask.").with({ component: "pilot", tag: VERSION }).set(1);
    const sizes = metrics.gauge("ambit_istiod_resources", "Resources that proxies are sent, by type.");
    metrics.onCollect(() => {
      services.with({}).set(mesh.services.size);
      sizes.with({ type: "address" }).set(mesh.addresses.size);
      sizes.with({ type: "authorization" }).set(mesh.authorizations.size);
      sizes.with({ type: "waypoint" }).set(mesh.waypointConfigs.size);
    });
    // Policies before workloads: nobody may list a policy that has not been sent.
    const pushed = [authorizationSource(mesh.authorizations, ticker, clock), waypointConfigSource(mesh.waypointConfigs, ticker, sessionSecrets(authority)), addressSource(mesh.addresses, ticker)];
    let running: RunningSources | undefined;
    const audit = auditServed({ sources: pushed, clock, log: log.child("push"), metrics });
    ending.push(() => audit.cancel());
    // As istioctl reads it; proxies read none of it, and thousands reconnect.
    const identifier = JSON.stringify({ Component: "istiod", ID: config.podName, Info: { version: VERSION } });
    const xds = createXdsServer({ sources: pushed, authenticate: ca.authenticate, ready: () => readiness.ready, fresh: () => running?.fresh?.() ?? true, log: log.child("xds"), clock, metrics, controlPlane: config.podName });
    const about = { clusterId: config.clusterId, version: VERSION };
    const routes = debugRoutes({ mesh, clients: () => xds.clients(), about });
    debugging = { routes, authenticate: ca.authenticate };
    const questions = createDebugService({ authenticate: ca.authenticate, clients: () => xds.clients(), rootNamespace: config.namespace, about: { ...about, identifier }, routes, log: log.child("debug") });
    const grpc = await startGrpc({ others: [questions], port: config.grpcPort, host: config.host, ...(config.plaintextPort < 0 ? {} : { plaintextPort: config.plaintextPort }), tls: certificate, xds, ca, clock });
    ending.push(() => grpc.drain());
    const admission = config.httpsPort < 0 ? undefined : await serveAdmission({ host: config.host, port: config.httpsPort, tls: certificate, settings: () => settings, metrics, log: log.child("admission") });
    if (admission !== undefined) ending.push(() => admission.close());
    const debug = await bind("127.0.0.1", config.debugPort, { ...common, ...loopbackRoutes(mesh, routes, config) });
    serving();

    mesh.waypointOptions.onChange((changes) => {
      for (const { after } of changes)
        for (const [what, why] of [...(after?.broken ?? []), ...(after?.problems ?? []).map((x) => [x.path, x.message] as const)]) log.warn("mesh settings for waypoints not used", { what, why });
    });
    const guard = addressGuard(config.jwksBlocked, config.jwksAllowed);
    const keys = keepKeys({ wanted: mesh.keys.wantedKeys, fetched: mesh.keys.fetchedKeys, fetch: (uri, signal) => fetchDocument(uri, { guard, signal }), record: () => platform.keys.load(), clock, random: systemRandom, log: log.child("jwks") });
    ending.push(() => keys.stop());
    const writers = platform.writers(mesh, keeper, keys);
    keeper.onChange(() => {
      void certificate.renew().catch(() => undefined);
      writers.rootsChanged();
    });
    ending.push(() => writers.stop());
    const sources = platform.watch(inbox);
    running = sources;
    ending.push(() => sources.stop());
    const waiting = clock.every(WAITING_EVERY_MS, () => log.warn("still waiting for the first state", { missing: sources.pending().join(", ") }));
    ending.push(() => waiting.cancel());
    void sources.whenSynced().then(async () => {
      waiting.cancel();
      if (over.signal.aborted) return;
      // Before any object is known: what waypoints were told must not become less because we have started.
      await keys.recall();
      if (over.signal.aborted) return;
      inbox.open();
      ticker.flush();
      await keys.settled();
      if (over.signal.aborted) return;
      ticker.flush();
      synced();
      ending.push(trackEnforcement(mesh, clock));
      writers.start();
      log.info("ready", { addresses: mesh.addresses.size, policies: mesh.authorizations.size, grpc_port: grpc.port });
    });
    return { grpcPort: grpc.port, httpPort: http.port, monitoringPort: monitoring.port, debugPort: debug.port, httpsPort: admission?.port, mesh, get rootsPem() { return keeper.current().rootsPem; }, authority: keeper, readiness, drain };
  } catch (error) {
    await drain();
    throw error;
  }
}

/** The mesh's own first, then its aliases; ConfigMap istio may change them while we run. */
const trustDomainsOf = (mesh: Mesh, config: Config): [string, ...string[]] => {
  const scope = mesh.scope.get("mesh");
  return [scope?.trustDomain ?? config.trustDomain, ...(scope?.trustDomainAliases ?? [])];
};

/** Until the pods are known nobody can be judged: that is not a no. */
const onceReady = (readiness: Readiness, review: ReviewToken): ReviewToken => async (token, audience) =>
  (readiness.ready ? review(token, audience) : { ok: false, error: "sources are not synced yet", unavailable: true });

const pick = (routes: Routes, names: readonly string[]): Routes => Object.fromEntries(names.flatMap((n) => (routes[n] === undefined ? [] : [[n, routes[n]]])));
