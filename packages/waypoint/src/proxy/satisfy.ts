// Owns what the exchange asks back while it plans: tokens verified, authorization providers asked.
import type { AuthorizationProvider } from "@ambit/core";
import type { Clock } from "@ambit/runtime";
import { ANSWER_MAX_BYTES, type CheckMessage } from "../auth/external-check.ts";
import { KeySets } from "../auth/key-set.ts";
import { satisfyNeed } from "../auth/needs.ts";
import type { HttpOptions } from "../http/options.ts";
import type { WaypointState } from "../state/waypoint-state.ts";
import type { Call } from "./call.ts";

export function createSatisfy(state: WaypointState, call: Call, clock: Clock): HttpOptions["satisfy"] {
  const keySets = new KeySets();
  const send = async (provider: AuthorizationProvider, message: CheckMessage, signal: AbortSignal) => {
    const answer = await call({ ...message, backend: { service: provider.service, port: provider.port, subset: undefined }, signal });
    if (answer.body.length > ANSWER_MAX_BYTES) throw new Error(`the answer of ${provider.name} is longer than ${ANSWER_MAX_BYTES} octets`);
    return answer;
  };
  return async (need, facts, peek) => {
    const { config } = state;
    if (config === undefined) return facts;
    return satisfyNeed(config, need, facts, keySets, {
      send, peek,
      deadline: (ms) => {
        const over = new AbortController();
        const timer = clock.after(ms, () => over.abort(new Error(`no answer within ${ms} ms`)));
        return { signal: over.signal, dispose: () => timer.cancel() };
      },
    });
  };
}
