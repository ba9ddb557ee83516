// Public names of @ambit/runtime.
export { afterSilence, nextTurn, systemClock, withTimeout, type Clock, type Timer } from "./clock.ts";
export { backoffDelay, newUuid, randomHex, seededRandom, systemRandom, type Backoff, type Random } from "./random.ts";
export { createLogger, errorText, LogLevels, Secret, type Fields, type Level, type Logger } from "./log.ts";
export { lineOutput, writeLine } from "./line-writer.ts";
export { LOG_FORMATS, type LogFormat } from "./log-format.ts";
export { Roster, type Seated } from "./roster.ts";
export { Scope, type Hold } from "./scope.ts";
export { Readiness } from "./readiness.ts";
export { env, parseDuration, readEnv, type EnvSchema, type EnvVar, type Parsed } from "./config.ts";
export { Metrics, type Counter, type Gauge, type Histogram, type Labels, type MetricsSnapshot } from "./metrics.ts";
export { commonRoutes, json, serveHttp, setLevels, text, type BoundServer, type Caller, type Handler, type Reply, type Routes, type ServeOptions, type ServerCertificate } from "./admin.ts";
export { runMain, type Bound } from "./signals.ts";
export { Stop, throwIfStopped, type StopSignal } from "./stop.ts";
export { LoopWatch, type LoopGuard } from "./loop-watch.ts";
export { watchDescriptors } from "./descriptors.ts";
