// Owns the answer to "what would happen to this request?": the same plans as for a real one, in words (`ambit why`).
import { DEFAULT_TRAFFIC, explainRequestVerdict, normalizeTarget, type Ip, type WaypointConfig } from "@ambit/core";
import type { StateView } from "@ambit/proxy/state";
import type { RequestFacts } from "../facts.ts";
import { judgeRequest, onRoute, policiesFor } from "./authorization.ts";
import { HashTables } from "./balance/hash.ts";
import { incomingFields, withUpgrade } from "./head.ts";
import { matchFactsOf } from "./match-facts.ts";
import type { Because, RequestPlan } from "./request-plan.ts";
import { planRequest } from "./request.ts";
import { chooseRoute, explainMisses, isHttp, routesOf } from "./routes.ts";
import { findTokens, tokenFields, tokenRulesFor } from "./tokens.ts";
import { planUpstream, planWorkload, type UpstreamPlan } from "./upstream.ts";

export interface RequestQuestion {
  readonly config: WaypointConfig;
  readonly view: StateView;
  /** Without token and checks, unless the asker knows them. */
  readonly facts: RequestFacts;
  readonly network: string;
  readonly random: () => number;
}

export interface RequestExplanation {
  /** `answered`: by the waypoint itself, which is no denial (a redirect, a fault, 404). `unknown`: it depends on what is not known here. */
  readonly outcome: "allowed" | "denied" | "answered" | "unknown";
  /** One sentence. */
  readonly summary: string;
  readonly steps: readonly Because[];
  /** Why each route before the chosen one was passed over. */
  readonly passedOver: readonly string[];
  /** The words of the policy decision. */
  readonly policy: readonly string[];
  /** What is done on the way: filters, timeouts, retries, mirrors. */
  readonly effects: readonly string[];
}

export function explainRequest(question: RequestQuestion): RequestExplanation {
  const { config, view, random } = question;
  const facts = withKnownToken(question);
  const plan = planRequest(config, view, facts, random);
  const { policy, passedOver } = circumstances(question, facts);
  const answer = (outcome: RequestExplanation["outcome"], summary: string, steps: readonly Because[], effects: readonly string[] = []): RequestExplanation => ({ outcome, summary, steps, passedOver, policy, effects });
  switch (plan.kind) {
    case "need": return answer("unknown", plan.need.kind === "token" ? "depends on a token whose signature is not verified here" : `depends on what ${plan.need.of === undefined ? `the provider ${plan.need.provider}` : `${plan.need.of.service} port ${plan.need.of.port}`} says (${plan.need.policy})`, []);
    case "reply": return answer(isDenial(plan) ? "denied" : "answered", `is answered by the waypoint: ${plan.reply.status} (${plan.reply.flag} ${plan.reply.details})${plan.delayMs > 0 ? ` after ${plan.delayMs} ms` : ""}`, plan.because);
    case "forward": {
      const upstream = endpointOf(question, plan);
      if (upstream.kind === "need") return answer("unknown", `depends on the addresses of ${upstream.hostname}`, plan.because, effectsOf(plan));
      const steps = [...plan.because, ...upstream.because];
      if (upstream.kind === "none") return answer("answered", `is answered by the waypoint: ${upstream.reply.status} (${upstream.reply.flag} ${upstream.reply.details})`, steps, effectsOf(plan));
      const hop = upstream.hop.kind === "tunnel" ? `through the tunnel to ${upstream.hop.at.ip}` : "in plaintext, for it is not enrolled";
      return answer("allowed", `goes to ${upstream.workload.uid} port ${upstream.port} ${hop}, as ${plan.head.method} ${plan.head.authority}${plan.head.target}`, steps, effectsOf(plan));
    }
  }
}

/** A request in which no rule finds a token has none: that needs no key. */
function withKnownToken({ config, facts }: RequestQuestion): RequestFacts {
  if (facts.token !== undefined) return facts;
  const target = normalizeTarget(facts.target, config.pathNormalization);
  if (!target.ok) return facts;
  const { rules } = tokenRulesFor(config, facts.connection, matchFactsOf(config, facts, target.value, facts.fields));
  return findTokens(rules, facts.fields, target.value.query).length === 0 ? { ...facts, token: { kind: "none" } } : facts;
}

function circumstances({ config }: RequestQuestion, facts: RequestFacts): Pick<RequestExplanation, "policy" | "passedOver"> {
  const target = normalizeTarget(facts.target, config.pathNormalization);
  if (!target.ok) return { policy: [], passedOver: [] };
  const { rules } = tokenRulesFor(config, facts.connection, matchFactsOf(config, facts, target.value, facts.fields));
  const fields = withUpgrade(tokenFields(rules, facts.token, incomingFields(facts.fields), target.value.query).fields, facts.upgrade);
  const matchFacts = matchFactsOf(config, facts, target.value, fields);
  const routes = routesOf(config, facts.connection)?.routes;
  const choice = chooseRoute(routes, matchFacts, []);
  const policies = policiesFor(config.policies, facts.connection, onRoute(choice.kind === "route" ? choice.route : undefined));
  const judged = judgeRequest(config, policies, { path: target.value.path, fields, request: facts });
  return { passedOver: routes !== undefined && isHttp(routes) ? explainMisses(routes.routes, matchFacts) : [], policy: explainRequestVerdict(policies, judged.facts, judged.verdict) };
}

function endpointOf({ config, view, facts, network, random }: RequestQuestion, plan: Extract<RequestPlan, { kind: "forward" }>): UpstreamPlan {
  const { connection } = facts;
  if (plan.to.kind === "workload") {
    if (connection.destination.kind !== "workload") return { kind: "none", reply: { status: 500, fields: [], body: "", flag: "NC", details: "cluster_not_found" }, because: [] };
    return planWorkload(connection.destination.workload, connection.address.port, { network, hosts: new Map() }, DEFAULT_TRAFFIC);
  }
  return planUpstream(view, config, plan.to.backend, {
    client: connection.sourceWorkload, network, active: () => 0, memberSince: () => undefined, now: facts.now, turn: 0, ejected: () => false, excluded: new Set(), tables: new HashTables(),
    sourceIp: connection.source.ip, fields: facts.fields, query: undefined, session: undefined, hosts: new Map<string, readonly Ip[]>(),
  }, random);
}

const isDenial = ({ reply }: Extract<RequestPlan, { kind: "reply" }>): boolean => reply.flag === "UAEX" || /^(?:rbac|jwt_authn)_access_denied|^(?:connect|upgrade)_not_allowed/.test(reply.details);

function effectsOf(plan: Extract<RequestPlan, { kind: "forward" }>): string[] {
  const { timeouts, retry } = plan;
  return [
    plan.delayMs > 0 ? `delayed by ${plan.delayMs} ms` : "",
    timeouts.requestMs === undefined ? "" : `times out after ${timeouts.requestMs} ms${timeouts.deadline ? " (the client's grpc-timeout)" : ""}`,
    timeouts.attemptMs === undefined ? "" : `each try times out after ${timeouts.attemptMs} ms`,
    retry.retries === 0 ? "is not tried again" : `is tried again up to ${retry.retries} times on ${[...retry.on, ...retry.statuses].join(", ")}`,
    ...plan.mirrors.map((m) => `is mirrored to ${m.backend.service}:${m.backend.port}`),
    ...plan.answer.flatMap((a) => [...a.set.map(([n]) => `sets ${n} in the answer`), ...a.add.map(([n]) => `adds ${n} to the answer`), ...a.remove.map((n) => `removes ${n} from the answer`)]),
    plan.session === undefined ? "" : `keeps its endpoint by the ${plan.session.kind} ${plan.session.name}`,
    ...plan.remarks.map((r) => `is remarked by ${r.policy} rule ${r.rule} (${r.kind})`),
  ].filter((line) => line !== "");
}
