// Owns the decision what is done with one request: judged, routed, filtered, answered or sent on. Pure and total: every way out says why.
// Order as in Istio's waypoint: normalisation, tokens, external checks, policies, faults, CORS, route (docs/reference of each is in its file).
import {
  authorizeRequest, changeFields, drawShare, chooseBackend, fieldValue, locationOf, normalizeTarget, originAllowed, preflightFields, preflightOf, splitAuthority, targetOf,
  type Cors, type Filters, type HeaderChange, type HttpAuthzFacts, type MatchFacts, type RequestAuthzFacts, type RequestTarget, type RouteOrigin, type WaypointConfig, type WeightedBackend, type Backend, type Fault, type HttpRoute, type Redirect,
} from "@ambit/core";
import type { StateView } from "@ambit/proxy/state";
import type { RequestFacts } from "../facts.ts";
import { denialReply, explainVerdictShortly, remarksOf, remoteIp } from "./authorization.ts";
import { decideChecks, decideRouteCheck } from "./checks.ts";
import { planConnection, type BackendPlan, type ConnectionPlan, type Goal, type RoutePlan } from "./connection-plan.ts";
import { applyFilters, incomingFields, repeatedField, SAW, surveyFields, withClient, withUpgrade } from "./head.ts";
import { matchFactsOf } from "./match-facts.ts";
import { backendUnknown, badRequest, connectRefused, localReply, noRoute, nothingWeighs, ruleFails, tokenRefused, upgradeRefused } from "./reply.ts";
import type { Because, LocalReply, OutgoingHead, Remark, RequestPlan } from "./request-plan.ts";
import { clientNamespace, findRoute, NOTHING } from "./routes.ts";
import { readSession, type SessionSeal } from "./session.ts";
import { effectiveTimeouts, withTimeouts } from "./timeouts.ts";
import { tokenFields, tokenRulesFor, type TokenRules } from "./tokens.ts";

/** Would change the framing of the connection under our hands. */
const FORBIDDEN_UPGRADES = /^(?:h2c?|http\/.*|tls\/.*)$/i;
/** What nearly every request has is told without an expression. */
const METHOD = /^[A-Z][A-Z0-9!#$%&'*+\-.^_`|~]*$/;
const isMethod = (method: string): boolean => method === "GET" || method === "POST" || METHOD.test(method);

/**
 * Uniform `random` in [0, 1) is drawn for faults, weights and mirrors, in this order. `seal` opens what clients carry of their session. Without `reasons` the
 * plan is the same, and its `because` stays empty: a request that is served needs no words.
 */
export const planRequest = (config: WaypointConfig, view: Pick<StateView, "service">, facts: RequestFacts, random: () => number, seal?: SessionSeal, reasons = true): RequestPlan =>
  planOn(planConnection(config, facts.connection), view, facts, random, seal, reasons ? [] : undefined);

/** The same on a connection of which all that holds for each of its requests is known. `because` undefined: nobody asks for reasons. */
export const planOn = (on: ConnectionPlan, view: Pick<StateView, "service">, facts: RequestFacts, random: () => number, seal: SessionSeal | undefined, because: Because[] | undefined): RequestPlan =>
  new Planner(on, view, facts, random, seal, because).plan();

const NO_REASONS: readonly Because[] = [];
const NO_REMARKS: readonly Remark[] = [];
const NO_CLAIMS: MatchFacts["claims"] = [];
const NO_TOKENS: HttpAuthzFacts["tokens"] = [];
const NO_CHANGES: readonly HeaderChange[] = [];
type Forward = Extract<RequestPlan, { kind: "forward" }>;
const NO_MIRRORS: Forward["mirrors"] = [];
const NOTHING_ADDED: readonly (readonly [string, string])[] = [];

/** The request as routes and policies see it. */
class Seen implements MatchFacts, HttpAuthzFacts {
  readonly path: string;
  readonly query: string | undefined;
  readonly method: string;
  readonly authority: string;
  readonly scheme: string;
  readonly fields: readonly string[];
  readonly grpc: boolean;
  readonly source: MatchFacts["source"];
  readonly claims: MatchFacts["claims"];
  readonly tokens: HttpAuthzFacts["tokens"];

  constructor({ method, authority, scheme, grpc, token }: RequestFacts, path: string, query: string | undefined, fields: readonly string[], source: MatchFacts["source"]) {
    this.path = path;
    this.query = query;
    this.method = method;
    this.authority = authority;
    this.scheme = scheme;
    this.fields = fields;
    this.grpc = grpc;
    this.source = source;
    this.claims = token?.kind === "valid" ? token.tokens.map((t) => t.claims) : NO_CLAIMS;
    this.tokens = token?.kind === "valid" ? token.tokens : NO_TOKENS;
  }
}

/** One request's planning: holds what every step needs and writes down each step's reason. */
class Planner {
  readonly #on: ConnectionPlan;
  readonly #view: Pick<StateView, "service">;
  readonly #facts: RequestFacts;
  readonly #random: () => number;
  readonly #seal: SessionSeal | undefined;
  /** undefined: nobody asks. */
  readonly #because: Because[] | undefined;
  /** Which fields came (`SAW`). */
  readonly #saw: number;
  #remarks: readonly Remark[] = NO_REMARKS;
  #origin: RouteOrigin | undefined = undefined;
  /** What external checks add to the request's answer. */
  #toDownstream = NOTHING_ADDED;

  constructor(on: ConnectionPlan, view: Pick<StateView, "service">, facts: RequestFacts, random: () => number, seal: SessionSeal | undefined, because: Because[] | undefined) {
    this.#on = on;
    this.#view = view;
    this.#facts = facts;
    this.#random = random;
    this.#seal = seal;
    this.#because = because;
    this.#saw = surveyFields(facts.fields);
  }

  plan(): RequestPlan {
    const { config, port } = this.#on;
    const facts = this.#facts;
    const refused = this.#malformed();
    if (refused !== undefined) return this.#reply(refused);
    const normal = normalizeTarget(facts.target, config.pathNormalization);
    if (!normal.ok) return this.#reply(badRequest(normal.error));
    const target = normal.value;
    const asSent = isAsSent(facts.target, target);
    if (!asSent) this.#because?.push({ step: "path", saw: facts.target, chose: target.path });

    const incoming = incomingFields(facts.fields, this.#saw);
    let fields = incoming;
    let { query } = target;
    if (config.authentications.length > 0) {
      const rules = tokenRulesFor(config, facts.connection, matchFactsOf(config, facts, target, facts.fields));
      const refusal = this.#refuseToken(rules, target);
      if (refusal !== undefined) return refusal;
      ({ fields, query } = tokenFields(rules.rules, facts.token, incoming, query));
    }
    // What the application will see is what is matched and judged.
    const seen = new Seen(facts, target.path, query, withUpgrade(fields, facts.upgrade), this.#on.source);

    if (port.level !== undefined) this.#because?.push({ step: "level", saw: `client namespace ${clientNamespace(facts.connection)}`, chose: port.level });
    const at = findRoute(port.routes, port.table, seen, this.#because);
    const taken = at < 0 ? port.unrouted : port.route(at);
    this.#origin = taken.route?.origin;

    const verdict = authorizeRequest(taken.policies, this.#authzFacts(seen));
    this.#remarks = remarksOf(verdict);
    if (verdict.checks.length > 0) {
      const checked = decideChecks(config, verdict.checks, facts.checks);
      if (checked.kind === "need") return { kind: "need", need: checked.need };
      if (checked.kind === "deny") {
        this.#because?.push({ step: "external authorization", saw: checked.policy, chose: `deny: ${checked.reply.details}` });
        return this.#reply(checked.reply);
      }
      fields = checked.change(fields);
      query = checked.query(query);
      this.#toDownstream = checked.toDownstream;
    }
    if (this.#because !== undefined) this.#because.push(explainVerdictShortly(verdict));
    if (verdict.kind === "deny") return this.#reply(denialReply(verdict));
    const head = { method: facts.method, authority: facts.authority, target: asSent && query === target.query ? facts.target : targetOf(target.path, query), fields };
    if (taken.route !== undefined) return this.#takeRoute(taken, taken.route, head, { path: target.path, query });
    return at === NOTHING ? this.#reply(noRoute) : this.#forward(port.goal, head, taken, undefined, 0);
  }

  #authzFacts(seen: Seen): RequestAuthzFacts {
    const { connection } = this.#facts;
    return {
      peer: connection.peer, sourceIp: connection.source.ip, remoteIp: (this.#saw & SAW.forwardedFor) === 0 ? connection.source.ip : remoteIp(this.#on.config, this.#facts),
      destination: connection.address, sni: undefined, http: seen,
    };
  }

/** Tokens are verified before anything is decided: a bad one ends the request, none may be fine (policies say). */
  #refuseToken(rules: TokenRules, target: RequestTarget): RequestPlan | undefined {
    const { token, method, fields, authority } = this.#facts;
    const realm = `http://${authority}${target.path}`;
    if (rules.refused !== undefined) {
      this.#because?.push({ step: "token", saw: rules.refused, chose: "deny" });
      return this.#reply(tokenRefused("Jwt verification fails", realm));
    }
    // A browser sends no token with a preflight.
    if (rules.rules.length === 0 || preflightOf(method, fields) !== undefined) return undefined;
    if (token === undefined) return { kind: "need", need: { kind: "token" } };
    if (token.kind === "invalid") {
      this.#because?.push({ step: "token", saw: token.reason, chose: "deny" });
      return this.#reply(tokenRefused(token.reason, realm));
    }
    this.#because?.push({ step: "token", saw: token.kind === "none" ? "none" : token.tokens.map((t) => `${t.issuer}/${t.subject}`).join(", "), chose: "go on" });
    return undefined;
  }

  /** What no codec can judge: a method in small letters, a plain CONNECT, an upgrade that nobody allowed, two values where readers differ which counts. */
  #malformed(): LocalReply | undefined {
    const { method, authority, upgrade, fields } = this.#facts;
    if ((this.#saw & SAW.repeated) !== 0) return badRequest(`more than one ${repeatedField(fields) ?? "field"}`);
    if (!isMethod(method)) return badRequest("the method is not in capitals");
    if (authority === "") return badRequest("no authority");
    if (upgrade !== undefined) return FORBIDDEN_UPGRADES.test(upgrade) ? upgradeRefused(upgrade) : undefined;
    return method === "CONNECT" ? connectRefused : undefined;
  }

  #takeRoute(taken: RoutePlan, route: HttpRoute, head: OutgoingHead, target: RequestTarget): RequestPlan {
    const { fault, filters: { cors } } = route;
    const delayMs = fault === undefined ? 0 : this.#delay(fault);
    if (fault?.abort !== undefined && drawShare(fault.abort.fraction, this.#random)) return this.#reply(this.#abort(fault.abort.answer), delayMs);
    const preflight = cors === undefined ? undefined : this.#preflight(cors);
    if (preflight !== undefined) return this.#reply(preflight, delayMs);

    const { externalAuth } = route;
    if (externalAuth !== undefined) {
      const checked = decideRouteCheck(externalAuth, this.#facts.checks);
      if (checked.kind === "need") return { kind: "need", need: checked.need };
      this.#because?.push({ step: "external authorization", saw: externalAuth.name, chose: checked.kind === "deny" ? `deny: ${checked.reply.details}` : "allow" });
      if (checked.kind === "deny") return this.#reply(checked.reply, delayMs);
      this.#toDownstream = [...this.#toDownstream, ...checked.toDownstream];
      const query = checked.query(target.query);
      return this.#act(taken, route, { ...head, fields: checked.change(head.fields), target: query === target.query ? head.target : targetOf(target.path, query) }, { ...target, query }, delayMs);
    }
    return this.#act(taken, route, head, target, delayMs);
  }

  #act(taken: RoutePlan, route: HttpRoute, head: OutgoingHead, target: RequestTarget, delayMs: number): RequestPlan {
    const { action } = route;
    switch (action.kind) {
      case "fail": return this.#reply(ruleFails(action.why), delayMs);
      case "respond": return this.#reply(localReply(action.status, action.body, "-", "direct_response"), delayMs, [route.filters]);
      case "redirect": return this.#redirect(action.redirect, route, [route.filters], target, delayMs);
      case "forward": return this.#toBackend(taken, route, action.backends, head, target, delayMs);
    }
  }

  #redirect(redirect: Redirect, route: HttpRoute, filters: readonly Filters[], target: RequestTarget, delayMs: number): RequestPlan {
    const { authority, scheme, connection } = this.#facts;
    const location = locationOf(redirect, route.match.path, { scheme, authority, port: connection.address.port, ...target }, route.origin.kind === "VirtualService" ? "virtual-service" : "gateway");
    if (!location.ok) return this.#reply(ruleFails(location.error), delayMs);
    this.#because?.push({ step: "redirect", saw: route.origin.name, chose: location.value });
    return this.#reply(localReply(redirect.status, "", "-", "direct_response", { fields: ["location", location.value] }), delayMs, filters);
  }

  #delay({ delay }: Fault): number {
    if (delay === undefined || !drawShare(delay.fraction, this.#random) || delay.ms === 0) return 0;
    this.#because?.push({ step: "fault", saw: `delay ${delay.ms} ms`, chose: "delayed" });
    return delay.ms;
  }

  #abort(answer: NonNullable<Fault["abort"]>["answer"]): LocalReply {
    this.#because?.push({ step: "fault", saw: "abort", chose: JSON.stringify(answer) });
    return "httpStatus" in answer ? localReply(answer.httpStatus, "fault filter abort", "FI", "fault_filter_abort") : localReply(200, "", "FI", "fault_filter_abort", { grpcStatus: answer.grpcStatus });
  }

  #toBackend(taken: RoutePlan, route: HttpRoute, backends: readonly WeightedBackend[], head: OutgoingHead, target: RequestTarget, delayMs: number): RequestPlan {
    if (backends.length === 0) return this.#reply(backendUnknown("the rule has no backends"), delayMs);
    const chosen = (route.session === undefined ? undefined : this.#backendOfSession(route, backends)) ?? chooseBackend(backends, this.#random);
    if (chosen === undefined) return this.#reply(nothingWeighs, delayMs);
    if (chosen.kind === "invalid") {
      this.#because?.push({ step: "backend", saw: chosen.why, chose: "500" });
      return this.#reply(backendUnknown(chosen.why), delayMs);
    }
    const { backend, filters } = chosen;
    this.#because?.push({ step: "backend", saw: `${backends.length} by weight`, chose: describeBackend(backend) });
    if (this.#view.service(backend.service) === undefined) return this.#reply(backendUnknown(`${backend.service} is not known`), delayMs);
    const preflight = filters.cors === undefined ? undefined : this.#preflight(filters.cors);
    if (preflight !== undefined) return this.#reply(preflight, delayMs);
    if (chosen.redirectTo !== undefined) return this.#redirect(chosen.redirectTo, route, [route.filters, filters], target, delayMs);
    const to = taken.backends[backends.length === 1 ? 0 : backends.indexOf(chosen)];
    if (to?.goal === undefined) throw new Error("defect: a backend that its route does not have");
    if (!to.changesHead) return this.#forward(to.goal, head, taken, to, delayMs);
    const applied = applyFilters(head, target, to.filters, route.match.path);
    return applied.ok ? this.#forward(to.goal, applied.value, taken, to, delayMs) : this.#reply(ruleFails(applied.error), delayMs);
  }

  /** A session holds on to its backend as long as that has any weight (GEP-1619: before weights). */
  #backendOfSession({ session }: HttpRoute, backends: readonly WeightedBackend[]): WeightedBackend | undefined {
    if (session === undefined || this.#seal === undefined || backends.length < 2) return undefined;
    const known = readSession(session, this.#seal, this.#facts.fields, this.#facts.now);
    return known && backends.find((b) => b.weight > 0 && b.kind === "service" && b.backend.service === known.service);
  }

  /** The answer to a preflight; undefined: it is none, or it is to be sent on. */
  #preflight(cors: Cors): LocalReply | undefined {
    const preflight = preflightOf(this.#facts.method, this.#facts.fields);
    if (preflight === undefined) return undefined;
    const allowed = originAllowed(cors, preflight.origin);
    this.#because?.push({ step: "cors", saw: `preflight from ${preflight.origin}`, chose: allowed ? "answered" : cors.unmatchedPreflight === "answer" ? "answered without leave" : "sent on" });
    if (!allowed && cors.unmatchedPreflight === "forward") return undefined;
    return localReply(200, "", "-", "cors_preflight", { fields: allowed ? preflightFields(cors, preflight) : [] });
  }

  /** `by` undefined: no route, the service or the pod itself. */
  #forward(to: Goal, head: OutgoingHead, { route, timeouts: own, retry }: RoutePlan, by: BackendPlan | undefined, delayMs: number): RequestPlan {
    const facts = this.#facts;
    const timeouts = facts.grpc && (this.#saw & SAW.grpcTimeout) !== 0 ? effectiveTimeouts(route?.timeouts ?? own, facts) : own;
    const fields = withTimeouts(withClient(this.#on.config, facts, head.fields, this.#saw), timeouts);
    const complete = fields === head.fields ? head : { method: head.method, authority: head.authority, target: head.target, fields };
    return {
      kind: "forward", origin: route?.origin, to, head: complete, timeouts, delayMs, session: route?.session,
      answer: this.#toDownstream.length === 0 ? (by?.answer ?? NO_CHANGES) : [{ set: this.#toDownstream, add: [], remove: [] }, ...(by?.answer ?? NO_CHANGES)],
      cors: by?.cors === undefined || (this.#saw & SAW.origin) === 0 ? undefined : this.#allowedOrigin(by.cors),
      // After an upgrade nothing can be said again.
      retry: facts.upgrade === undefined ? retry : { ...this.#on.config.defaultRetry, retries: 0 },
      mirrors: by === undefined || by.mirrors.length === 0 ? NO_MIRRORS : this.#mirrors(by.mirrors, complete),
      remarks: this.#remarks, because: this.#because ?? NO_REASONS, trace: undefined,
    };
  }

  #allowedOrigin(rule: Cors): Forward["cors"] {
    const origin = fieldValue(this.#facts.fields, "origin");
    return origin !== undefined && originAllowed(rule, origin) ? { rule, origin } : undefined;
  }

  #mirrors(mirrors: Filters["mirrors"], head: OutgoingHead): Forward["mirrors"] {
    const drawn = mirrors.filter((m) => drawShare(m.fraction, this.#random));
    return this.#facts.upgrade === undefined ? drawn.map((m) => ({ backend: m.backend, head: { ...head, authority: shadowOf(head.authority) } })) : NO_MIRRORS;
  }

  #reply(reply: LocalReply, delayMs = 0, filters: readonly Filters[] = []): RequestPlan {
    const fields = filters.reduce<readonly string[]>((f, { response }) => (response === undefined ? f : changeFields(f, response)), reply.fields);
    return { kind: "reply", reply: { ...reply, fields }, origin: this.#origin, delayMs, remarks: this.#remarks, because: this.#because ?? NO_REASONS, trace: undefined };
  }
}

/** Normalising changed nothing, and there was no fragment: the target may go on as it is. */
const isAsSent = (sent: string, { path, query }: RequestTarget): boolean => sent.length === path.length + (query === undefined ? 0 : query.length + 1) && sent.startsWith(path);

const describeBackend = (b: Backend): string => `${b.service}:${b.port}${b.subset === undefined ? "" : ` subset ${b.subset}`}`;

/** A mirrored request says so in its host, as Envoy's does. */
function shadowOf(authority: string): string {
  const { host, port } = splitAuthority(authority);
  return `${host}-shadow${port === undefined ? "" : `:${port}`}`;
}
