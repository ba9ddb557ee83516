// Public names of @ambit/testkit: fakes and compliance suites, importable from tests only.
export { chartObjects } from "./charts.ts";
export { fakeCa, type FakeCa, type FakeCert, type LeafOptions } from "./fake-ca.ts";
export { fakeCsr, type FakeCsr } from "./fake-csr.ts";
export { byteStreamCompliance, type StreamPair, type StreamTraits } from "./compliance/byte-stream.ts";
export { hangingLoopCompliance, type HangingLoop } from "./compliance/hanging-loop.ts";
export { podSecurityViolations, type PodSpecLike } from "./pod-security.ts";
export { realZdsConversation, type ZdsTurn } from "./zds.ts";
export { Recorder, sendAll, turns } from "./compliance/recorder.ts";
export { heldOctets } from "./heap.ts";
export { checkGolden, goldenCases, type GoldenInput } from "./golden.ts";
