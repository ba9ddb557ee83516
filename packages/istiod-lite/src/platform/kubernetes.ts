// Owns the control plane's life in a cluster: lists and watches, TokenReview, the authority's Secret, conditions written by a leader.
import { KubeClient, LeaderElection, type ClientConfig } from "@ambit/kube";
import { newUuid, systemRandom, type Clock, type Logger } from "@ambit/runtime";
import { keepWebhooks } from "../admission/webhook-writer.ts";
import { decodeTokenReview, tokenReviewOf } from "../ca/token-review.ts";
import { meshConfigName, nameOfRevision, ownsRevision } from "../collections/scope.ts";
import type { Config } from "../config.ts";
import { runWaypoints } from "../gateways/controller.ts";
import { createRoller } from "../ca/roller.ts";
import { recordKeys } from "../jwks/recorder.ts";
import { keysInConfigMap } from "../jwks/stores.ts";
import { AuthoritySecrets } from "../root-secret.ts";
import { watchKubernetes } from "../sources/kubernetes.ts";
import { createAllocator } from "../status/allocator.ts";
import { keepTrustAnchor } from "../status/trust-anchor.ts";
import { keepNodesUntainted } from "../status/node-taint.ts";
import { keepGatewayClasses } from "../status/gateway-classes.ts";
import { createStatusWriter } from "../status/writer.ts";
import type { Platform } from "./platform.ts";

/** One leader for everything that is written. Of its own for each revision: one must not wait for another to write what only it reads. */
const LEASE = "istio-status-leader";
const TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews";

export function onKubernetes(o: { config: Config; cluster: ClientConfig; clock: Clock; log: Logger; signal: AbortSignal }): Platform {
  const { config, clock, log } = o;
  const client = new KubeClient(o.cluster);
  const secrets = new AuthoritySecrets({ client, namespace: config.namespace, trustDomain: config.trustDomain, clock, log, signal: o.signal });
  const store = keysInConfigMap({ client, namespace: config.namespace, revision: config.revision });
  return {
    authority: secrets,
    keys: store,
    reviewToken: () => async (token, audience) => decodeTokenReview(await client.request("POST", TOKEN_REVIEWS, { body: tokenReviewOf(token, audience) }), audience),
    watch: (inbox) => watchKubernetes({ client, inbox, meshConfig: { namespace: config.namespace, name: meshConfigName(config.revision) }, clock, random: systemRandom, log: log.child("sources") }),
    writers: (mesh, authority, keys) => {
      const rootsPem = (): string => authority.current().rootsPem;
      const status = createStatusWriter({ client, desired: mesh.statuses, objects: mesh.sources, clock, log: log.child("status") });
      const allocator = createAllocator({ client, entries: mesh.serviceEntries, objects: mesh.sources.serviceEntries, clock, log: log.child("status") });
      const classes = keepGatewayClasses({ client, classes: mesh.sources.gatewayClasses, clock, log: log.child("status") });
      const taints = config.untaintNodes ? [keepNodesUntainted({ client, nodes: mesh.sources.nodes, pods: mesh.sources.pods, agentNamespace: config.namespace, taint: config.nodeTaint, clock, log: log.child("status") })] : [];
      const anchor = keepTrustAnchor({ client, namespaces: mesh.sources.namespaces, rootsPem, crlPem: () => authority.current().crlPem, clock, log: log.child("status") });
      const webhooks = config.httpsPort < 0 ? undefined : keepWebhooks({ client, namespace: config.namespace, rootsPem, clock, log: log.child("admission") });
      const waypoints = runWaypoints({
        client, isOurs: (gateway) => ownsRevision(mesh.scope.get("mesh"), gateway.metadata.labels), gateways: mesh.sources.gateways, services: mesh.sources.services, pods: mesh.sources.pods, clock, log: log.child("waypoints"),
        rootNamespace: config.namespace, clusterDomain: config.clusterDomain,
        template: {
          image: config.waypointImage, controlPlane: config.waypointControlPlane || `istiod.${config.namespace}.svc:15012`, clusterId: config.clusterId,
          trustDomain: config.trustDomain, revision: config.revision,
        },
      });
      const roller = createRoller({ root: secrets, keeper: authority, trustDomain: config.trustDomain, clock, log: log.child("ca") });
      const recorder = recordKeys({ keys, store, clock, log: log.child("jwks") });
      const election = new LeaderElection({
        client, namespace: config.namespace, name: nameOfRevision(LEASE, config.revision), identity: `${config.podName}_${newUuid()}`, clock, log: log.child("leader"),
        onChange: (leading) => {
          anchor.lead(leading);
          roller.lead(leading);
          waypoints.lead(leading);
          recorder.lead(leading);
          webhooks?.lead(leading);
          for (const writer of [status, allocator, classes, ...taints])
            if (leading) writer.resume(writer.keys());
            else writer.pause();
        },
      });
      return {
        start: () => void election.start(),
        rootsChanged: () => {
          anchor.touch();
          webhooks?.touch();
        },
        stop: async () => {
          roller.stop();
          await status.stop();
          await allocator.stop();
          await classes.stop();
          for (const t of taints) await t.stop();
          await anchor.stop();
          await waypoints.stop();
          await recorder.stop();
          await webhooks?.stop();
          await election.stop();
        },
      };
    },
    close: () => client.close(),
  };
}
