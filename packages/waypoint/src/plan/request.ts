// Owns the decision what is done with one request: judged, routed, filtered, answered or sent on. Pure and total: every way out says why.
// Order as in Istio's waypoint: normalisation, tokens, external checks, policies, faults, CORS, route (docs/reference of each is in its file).
import {
  changeFields, chooseBackend, drawShare, fieldValue, locationOf, normalizeTarget, originAllowed, preflightFields, preflightOf, splitAuthority, targetOf,
  type Backend, type Cors, type Filters, type HeaderChange, type HttpRoute, type RequestTarget, type RouteOrigin, type Timeouts, type WaypointConfig, type WeightedBackend,
} from "@ambit/core";
import type { StateView } from "@ambit/proxy/state";
import type { RequestFacts } from "../facts.ts";
import { denialReply, explainVerdictShortly, judgeRequest, onRoute, policiesFor, remarksOf } from "./authorization.ts";
import { decideChecks } from "./checks.ts";
import { applyFilters, incomingFields, repeatedField, withClient, withUpgrade } from "./head.ts";
import { matchFactsOf } from "./match-facts.ts";
import { backendUnknown, badRequest, connectRefused, localReply, noRoute, nothingWeighs, ruleFails, tokenRefused, upgradeRefused } from "./reply.ts";
import type { Because, LocalReply, OutgoingHead, Remark, RequestPlan } from "./request-plan.ts";
import { chooseRoute, clientNamespace, destinationKey, routesOf, type RouteChoice } from "./routes.ts";
import { readSession, type SessionSeal } from "./session.ts";
import { effectiveTimeouts, withTimeouts } from "./timeouts.ts";
import { tokenFields, tokenRulesFor, type TokenRules } from "./tokens.ts";

/** Would change the framing of the connection under our hands. */
const FORBIDDEN_UPGRADES = /^(?:h2c?|http\/.*|tls\/.*)$/i;

type Forward = Extract<RequestPlan, { kind: "forward" }>;

/**
 * Uniform `random` in [0, 1) is drawn for faults, weights and mirrors, in this order. `seal` opens what clients carry of their session. Without `reasons` the
 * plan is the same, and its `because` stays empty: a request that is served needs no words.
 */
export function planRequest(config: WaypointConfig, view: Pick<StateView, "service">, facts: RequestFacts, random: () => number, seal?: SessionSeal, reasons = true): RequestPlan {
  return new Planner(config, view, facts, random, seal, reasons ? [] : undefined).plan();
}

const NO_REASONS: readonly Because[] = [];
const NO_TOKEN_RULES: TokenRules = { rules: [], refused: undefined };
const NO_TIMEOUTS: Timeouts = { requestMs: undefined, attemptMs: undefined };
type Mirror = Filters["mirrors"][number];

/** One request's planning: holds what every step needs and writes down each step's reason. */
class Planner {
  readonly #config: WaypointConfig;
  readonly #view: Pick<StateView, "service">;
  readonly #facts: RequestFacts;
  readonly #random: () => number;
  readonly #seal: SessionSeal | undefined;
  /** undefined: nobody asks. */
  readonly #because: Because[] | undefined;
  #remarks: readonly Remark[] = [];
  #origin: RouteOrigin | undefined;
  /** What external checks changed in the request, and what they add to its answer. */
  #toDownstream: readonly (readonly [string, string])[] = [];

  constructor(config: WaypointConfig, view: Pick<StateView, "service">, facts: RequestFacts, random: () => number, seal: SessionSeal | undefined, because: Because[] | undefined) {
    this.#because = because;
    this.#seal = seal;
    this.#config = config;
    this.#view = view;
    this.#facts = facts;
    this.#random = random;
  }

  plan(): RequestPlan {
    const { method, authority, token } = this.#facts;
    const refused = this.#malformed();
    if (refused !== undefined) return this.#reply(refused);
    const normal = normalizeTarget(this.#facts.target, this.#config.pathNormalization);
    if (!normal.ok) return this.#reply(badRequest(normal.error));
    const target = normal.value;
    if (this.#because !== undefined && targetOf(target.path, target.query) !== this.#facts.target) this.#because?.push({ step: "path", saw: this.#facts.target, chose: target.path });

    const rules = this.#config.authentications.length === 0 ? NO_TOKEN_RULES : tokenRulesFor(this.#config, this.#facts.connection, matchFactsOf(this.#config, this.#facts, target, this.#facts.fields));
    const refusal = this.#refuseToken(rules, target);
    if (refusal !== undefined) return refusal;
    // What the application will see is what is matched and judged.
    const { fields, query } = tokenFields(rules.rules, token, incomingFields(this.#facts.fields), target.query);
    const seen = { path: target.path, query };
    const shown = withUpgrade(fields, this.#facts.upgrade);
    const matchFacts = matchFactsOf(this.#config, this.#facts, seen, shown);

    const level = routesOf(this.#config, this.#facts.connection);
    if (level !== undefined) this.#because?.push({ step: "level", saw: `client namespace ${clientNamespace(this.#facts.connection)}`, chose: level.level });
    const choice = chooseRoute(level?.routes, matchFacts, this.#because);
    const route = choice.kind === "route" ? choice.route : undefined;
    this.#origin = route?.origin;

    const policies = policiesFor(this.#config.policies, this.#facts.connection, onRoute(route));
    const { verdict } = judgeRequest(this.#config, policies, { path: target.path, fields: shown, request: this.#facts });
    this.#remarks = remarksOf(verdict);
    const checked = decideChecks(this.#config, verdict.checks, this.#facts.checks);
    if (checked.kind === "need") return { kind: "need", need: checked.need };
    if (checked.kind === "deny") {
      this.#because?.push({ step: "external authorization", saw: checked.policy, chose: `deny: ${checked.reply.details}` });
      return this.#reply(checked.reply);
    }
    this.#because?.push(explainVerdictShortly(verdict));
    if (verdict.kind === "deny") return this.#reply(denialReply(verdict));
    this.#toDownstream = checked.toDownstream;
    const leaving = { path: target.path, query: checked.query(query) };
    return this.#act(choice, { method, authority, target: targetOf(leaving.path, leaving.query), fields: checked.change(fields) }, leaving);
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
    const twice = repeatedField(fields);
    if (twice !== undefined) return badRequest(`more than one ${twice}`);
    if (!/^[A-Z][A-Z0-9!#$%&'*+\-.^_`|~]*$/.test(method)) return badRequest("the method is not in capitals");
    if (authority === "") return badRequest("no authority");
    if (upgrade !== undefined) return FORBIDDEN_UPGRADES.test(upgrade) ? upgradeRefused(upgrade) : undefined;
    return method === "CONNECT" ? connectRefused : undefined;
  }

  #act(choice: RouteChoice, head: OutgoingHead, target: RequestTarget): RequestPlan {
    switch (choice.kind) {
      case "none": return this.#reply(noRoute);
      case "service": return this.#toService(head);
      case "route": return this.#takeRoute(choice.route, head, target);
    }
  }

  #toService(head: OutgoingHead): RequestPlan {
    const { connection } = this.#facts;
    const service = destinationKey(connection);
    const to: Forward["to"] = service === undefined ? { kind: "workload" } : { kind: "service", backend: { service, port: connection.address.port, subset: undefined } };
    return this.#forward(to, head, undefined, [], undefined, 0);
  }

  #takeRoute(route: HttpRoute, head: OutgoingHead, target: RequestTarget): RequestPlan {
    const delayMs = route.fault?.delay !== undefined && drawShare(route.fault.delay.fraction, this.#random) ? route.fault.delay.ms : 0;
    if (delayMs > 0) this.#because?.push({ step: "fault", saw: `delay ${delayMs} ms`, chose: "delayed" });
    const { abort } = route.fault ?? {};
    if (abort !== undefined && drawShare(abort.fraction, this.#random)) {
      this.#because?.push({ step: "fault", saw: "abort", chose: JSON.stringify(abort.answer) });
      const reply = "httpStatus" in abort.answer ? localReply(abort.answer.httpStatus, "fault filter abort", "FI", "fault_filter_abort") : localReply(200, "", "FI", "fault_filter_abort", { grpcStatus: abort.answer.grpcStatus });
      return this.#reply(reply, delayMs);
    }
    const preflight = this.#preflight(route.filters.cors);
    if (preflight !== undefined) return this.#reply(preflight, delayMs);

    const { action } = route;
    switch (action.kind) {
      case "fail": return this.#reply(ruleFails(action.why), delayMs);
      case "respond": return this.#reply(localReply(action.status, action.body, "-", "direct_response"), delayMs, [route.filters]);
      case "redirect": {
        const { authority, scheme, connection } = this.#facts;
        const location = locationOf(action.redirect, route.match.path, { scheme, authority, port: connection.address.port, ...target }, route.origin.kind === "VirtualService" ? "virtual-service" : "gateway");
        if (!location.ok) return this.#reply(ruleFails(location.error), delayMs);
        this.#because?.push({ step: "redirect", saw: route.origin.name, chose: location.value });
        return this.#reply(localReply(action.redirect.status, "", "-", "direct_response", { fields: ["location", location.value] }), delayMs, [route.filters]);
      }
      case "forward": return this.#toBackend(route, action.backends, head, target, delayMs);
    }
  }

  #toBackend(route: HttpRoute, backends: readonly WeightedBackend[], head: OutgoingHead, target: RequestTarget, delayMs: number): RequestPlan {
    if (backends.length === 0) return this.#reply(backendUnknown("the rule has no backends"), delayMs);
    const chosen = this.#backendOfSession(route, backends) ?? chooseBackend(backends, this.#random);
    if (chosen === undefined) return this.#reply(nothingWeighs, delayMs);
    if (chosen.kind === "invalid") {
      this.#because?.push({ step: "backend", saw: chosen.why, chose: "500" });
      return this.#reply(backendUnknown(chosen.why), delayMs);
    }
    const { backend, filters } = chosen;
    this.#because?.push({ step: "backend", saw: `${backends.length} by weight`, chose: describeBackend(backend) });
    if (this.#view.service(backend.service) === undefined) return this.#reply(backendUnknown(`${backend.service} is not known`), delayMs);
    const preflight = this.#preflight(filters.cors);
    if (preflight !== undefined) return this.#reply(preflight, delayMs);
    const applied = applyFilters(head, target, [route.filters, filters], route.match.path);
    if (!applied.ok) return this.#reply(ruleFails(applied.error), delayMs);
    return this.#forward({ kind: "service", backend }, applied.value, route, [route.filters, filters], filters.cors ?? route.filters.cors, delayMs);
  }

  /** A session holds on to its backend as long as that has any weight (GEP-1619: before weights). */
  #backendOfSession({ session }: HttpRoute, backends: readonly WeightedBackend[]): WeightedBackend | undefined {
    if (session === undefined || this.#seal === undefined || backends.length < 2) return undefined;
    const known = readSession(session, this.#seal, this.#facts.fields, this.#facts.now);
    return known && backends.find((b) => b.weight > 0 && b.kind === "service" && b.backend.service === known.service);
  }

  /** The answer to a preflight; undefined: it is none, or it is to be sent on. */
  #preflight(cors: Cors | undefined): LocalReply | undefined {
    const preflight = cors && preflightOf(this.#facts.method, this.#facts.fields);
    if (cors === undefined || preflight === undefined) return undefined;
    const allowed = originAllowed(cors, preflight.origin);
    this.#because?.push({ step: "cors", saw: `preflight from ${preflight.origin}`, chose: allowed ? "answered" : cors.unmatchedPreflight === "answer" ? "answered without leave" : "sent on" });
    if (!allowed && cors.unmatchedPreflight === "forward") return undefined;
    return localReply(200, "", "-", "cors_preflight", { fields: allowed ? preflightFields(cors, preflight) : [] });
  }

  #forward(to: Forward["to"], head: OutgoingHead, route: HttpRoute | undefined, filters: readonly Filters[], cors: Cors | undefined, delayMs: number): RequestPlan {
    const timeouts = effectiveTimeouts(route?.timeouts ?? NO_TIMEOUTS, this.#facts);
    const complete = { ...head, fields: withTimeouts(withClient(this.#config, this.#facts, head.fields), timeouts) };
    const origin = fieldValue(this.#facts.fields, "origin");
    const answer: HeaderChange[] = [];
    const mirrors: Mirror[] = [];
    if (this.#toDownstream.length > 0) answer.push({ set: this.#toDownstream, add: [], remove: [] });
    for (const f of filters) {
      if (f.response !== undefined) answer.push(f.response);
      for (const m of f.mirrors) if (drawShare(m.fraction, this.#random)) mirrors.push(m);
    }
    return {
      kind: "forward", origin: route?.origin, to, head: complete, timeouts, delayMs, session: route?.session,
      answer,
      cors: cors !== undefined && origin !== undefined && originAllowed(cors, origin) ? { rule: cors, origin } : undefined,
      // After an upgrade nothing can be said again.
      retry: this.#facts.upgrade === undefined ? (route?.retry ?? this.#config.defaultRetry) : { ...this.#config.defaultRetry, retries: 0 },
      mirrors: this.#facts.upgrade === undefined ? mirrors.map((m) => ({ backend: m.backend, head: { ...complete, authority: shadowOf(complete.authority) } })) : [],
      remarks: this.#remarks, because: this.#because ?? NO_REASONS,
    };
  }

  #reply(reply: LocalReply, delayMs = 0, filters: readonly Filters[] = []): RequestPlan {
    const fields = filters.reduce<readonly string[]>((f, { response }) => (response === undefined ? f : changeFields(f, response)), reply.fields);
    return { kind: "reply", reply: { ...reply, fields }, origin: this.#origin, delayMs, remarks: this.#remarks, because: this.#because ?? NO_REASONS };
  }
}

const describeBackend = (b: Backend): string => `${b.service}:${b.port}${b.subset === undefined ? "" : ` subset ${b.subset}`}`;

/** A mirrored request says so in its host, as Envoy's does. */
function shadowOf(authority: string): string {
  const { host, port } = splitAuthority(authority);
  return `${host}-shadow${port === undefined ? "" : `:${port}`}`;
}
