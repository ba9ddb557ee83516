// Public names of @ambit/proxy/testing: worlds written as wire resources, a clock and a CA that move by hand. Only for tests.
export { readChain } from "../identity/chain.ts";
export { ManualCa, ManualClock, quiet, settle } from "../identity/manual.fixture.ts";
export {
  addressBytes, at, HBONE, ip, member, octets, pod, policyBytes, pushWorld, stateOf, svc, waypointAt, wild,
  type WirePolicy, type WireService, type WireWorkload, type World,
} from "../state/wire.fixture.ts";
