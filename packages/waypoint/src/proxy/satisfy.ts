// Owns what the exchange asks back while it plans: tokens verified, authorization providers asked.
import type { AuthorizationProvider } from "@ambit/core";
import type { Clock } from "@ambit/runtime";
import { ANSWER_MAX_BYTES, checkConnection, type CheckMessage, type CheckPorts } from "../auth/external-check.ts";
import { KeySets } from "../auth/key-set.ts";
import { satisfyNeed } from "../auth/needs.ts";
import type { CheckFacts, ConnectionFacts } from "../facts.ts";
import type { HttpOptions } from "../http/options.ts";
import type { WaypointState } from "../state/waypoint-state.ts";
import type { Call } from "./call.ts";

/** What a check needs of the world, but for the request's body. */
function checkPorts(call: Call, clock: Clock): Omit<CheckPorts, "peek"> {
  const send = async (provider: AuthorizationProvider, message: CheckMessage, signal: AbortSignal) => {
    const answer = await call({ ...message, backend: { service: provider.service, port: provider.port, subset: undefined }, signal });
    if (answer.body.length > ANSWER_MAX_BYTES) throw new Error(`the answer of ${provider.name} is longer than ${ANSWER_MAX_BYTES} octets`);
    return answer;
  };
  return {
    send,
    deadline: (ms) => {
      const over = new AbortController();
      const timer = clock.after(ms, () => over.abort(new Error(`no answer within ${ms} ms`)));
      return { signal: over.signal, dispose: () => timer.cancel() };
    },
  };
}

export function createSatisfy(state: WaypointState, call: Call, clock: Clock): HttpOptions["satisfy"] {
  const keySets = new KeySets();
  const ports = checkPorts(call, clock);
  return async (need, facts, peek) => (state.config === undefined ? facts : satisfyNeed(state.config, need, facts, keySets, { ...ports, peek }));
}

/** The same for a connection that is not HTTP. Never rejects. */
export type CheckTcp = (provider: string, policy: string, facts: ConnectionFacts) => Promise<CheckFacts>;

export function createTcpCheck(state: WaypointState, call: Call, clock: Clock): CheckTcp {
  const ports = checkPorts(call, clock);
  return async (name, policy, facts) => {
    const provider = state.config?.authorizationProviders.get(name);
    if (provider === undefined) return { provider: name, verdict: { kind: "failed", why: "the provider is not configured any more", bodyTooLarge: false } };
    return checkConnection(provider, facts, policy, clock.now(), ports);
  };
}
