// Owns log lines: one record a line to stdout, fixed keys (time, level, scope, msg) and facts as fields.
import { writeLine } from "./line-writer.ts";
import { formatRecord, type LogFormat } from "./log-format.ts";

export const LEVELS = ["error", "warn", "info", "debug", "trace"] as const;
export type Level = (typeof LEVELS)[number];
/** As a limit: nothing is said. */
const OFF = "off";
type Limit = Level | typeof OFF;
export type Fields = Readonly<Record<string, unknown>>;

export interface Logger {
  error(msg: string, fields?: Fields): void;
  warn(msg: string, fields?: Fields): void;
  info(msg: string, fields?: Fields): void;
  debug(msg: string, fields?: Fields): void;
  trace(msg: string, fields?: Fields): void;
  enabled(level: Level): boolean;
  child(scope: string, fields?: Fields): Logger;
}

/** Levels can change while the process runs: one object shared by every logger of a process. */
export class LogLevels {
  #base: Limit;
  readonly #initial: string;
  #byScope = new Map<string, Limit>();

  constructor(filter = "info") {
    this.#initial = filter;
    this.#base = "info";
    const problem = this.set(filter);
    if (problem !== undefined) throw new Error(problem);
  }

  /** `level` or `scope=level,scope=level,level`. Returns a problem text and changes nothing if any part is unknown. */
  set(filter: string): string | undefined {
    let base: Limit = this.#base;
    const byScope = new Map<string, Limit>();
    for (const part of filter.split(",")) {
      // Istio's help says `scope:level`, its parser wants `scope=level`: both are meant.
      const [left, right] = part.split(/[=:]/, 2).map((s) => s.trim());
      const level = right ?? left ?? "";
      if (!isLevel(level) && level !== OFF) return `unknown log level "${level}" in "${filter}": use ${LEVELS.join(", ")}, ${OFF} or scope=level`;
      if (right === undefined) base = level;
      else byScope.set(left ?? "", level);
    }
    this.#base = base;
    this.#byScope = byScope;
    return undefined;
  }

  reset(): void {
    this.set(this.#initial);
  }

  toString(): string {
    return [...this.#byScope].map(([s, l]) => `${s}=${l}`).concat(this.#base).join(",");
  }

  enabled(scope: string, level: Level): boolean {
    const limit = this.#byScope.get(scope) ?? this.#base;
    return limit !== OFF && LEVELS.indexOf(level) <= LEVELS.indexOf(limit);
  }
}

export function isLevel(s: string): s is Level {
  return (LEVELS as readonly string[]).includes(s);
}

export interface LogOptions {
  readonly levels?: LogLevels;
  readonly write?: (line: string) => void;
  readonly now?: () => number;
  readonly fields?: Fields;
  /** Default `ambit-json`. */
  readonly format?: LogFormat;
}

/** One line per record, whatever the fields hold: if one cannot be serialised, the line names the fields instead. */
export function createLogger(scope: string, options: LogOptions = {}): Logger {
  const levels = options.levels ?? new LogLevels();
  const write = options.write ?? writeLine;
  const now = options.now ?? (() => Date.now());
  const quick = (options.format ?? "ambit-json") === "ambit-json" && Object.keys(options.fields ?? {}).length === 0;
  const emit = (level: Level, msg: string, fields?: Fields) => {
    if (!levels.enabled(scope, level)) return;
    const head = { time: timeText(now()), level, scope, msg };
    const plain = quick ? plainLine(head, fields) : undefined;
    if (plain !== undefined) return write(plain);
    const all = Object.assign({}, options.fields, fields);
    write(`${line(options.format, head, all) ?? line(options.format, head, { unserialisable: Object.keys(all).join(", ") }) ?? ""}\n`);
  };
  return {
    error: (msg, fields) => emit("error", msg, fields),
    warn: (msg, fields) => emit("warn", msg, fields),
    info: (msg, fields) => emit("info", msg, fields),
    debug: (msg, fields) => emit("debug", msg, fields),
    trace: (msg, fields) => emit("trace", msg, fields),
    enabled: (level) => levels.enabled(scope, level),
    child: (childScope, fields) =>
      createLogger(childScope, { levels, write, now, fields: { ...options.fields, ...fields }, ...(options.format === undefined ? {} : { format: options.format }) }),
  };
}

/** Many lines have the same millisecond. */
let lastMs = NaN;
let lastText = "";

function timeText(ms: number): string {
  if (ms === lastMs) return lastText;
  lastMs = ms;
  return (lastText = new Date(ms).toISOString());
}

interface Head { readonly time: string; readonly level: string; readonly scope: string; readonly msg: string }

/** Undefined for what JSON cannot say: cycles, a throwing toJSON. */
function line(format: LogFormat | undefined, head: Head, fields: Fields): string | undefined {
  if (format !== undefined && format !== "ambit-json") return formatRecord({ time: head.time, level: head.level, scope: head.scope, message: head.msg, fields }, format, replacer);
  const record: Fields = Object.assign({ ...head }, fields);
  try {
    return JSON.stringify(record, replacer);
  } catch {
    return undefined;
  }
}

/** The line of every connection: nothing is copied, and there is no replacer, which costs more than all the rest. undefined: it has to be done by `line`. */
function plainLine(head: Head, fields: Fields | undefined): string | undefined {
  let body = "}";
  if (fields !== undefined) {
    if (!isPlain(fields) || "time" in fields || "level" in fields || "scope" in fields || "msg" in fields || "toJSON" in fields) return undefined;
    const text = JSON.stringify(fields);
    if (text !== "{}") body = `,${text.slice(1)}`;
  }
  return `{"time":"${head.time}","level":"${head.level}","scope":${JSON.stringify(head.scope)},"msg":${JSON.stringify(head.msg)}${body}\n`;
}

function isPlain(record: Fields): boolean {
  for (const name in record) {
    const type = typeof record[name];
    if (type !== "string" && type !== "number" && type !== "boolean" && type !== "undefined") return false;
  }
  return true;
}

function replacer(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Error) return errorText(value);
  return value;
}

/** Causes deeper than this (or in a circle) say nothing more. */
const CAUSES_MAX = 8;

/** An error with its chain of causes as one line. */
export function errorText(error: unknown, depth = 0): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as { code?: unknown }).code;
  const head = typeof code === "string" && !error.message.includes(code) ? `${error.message} (${code})` : error.message;
  return error.cause === undefined || depth === CAUSES_MAX ? head : `${head}: ${errorText(error.cause, depth + 1)}`;
}

/** A value that must never reach a log, a dump or a terminal. */
export class Secret<T> {
  readonly #value: T;
  constructor(value: T) {
    this.#value = value;
  }
  reveal(): T {
    return this.#value;
  }
  toString(): string {
    return "[redacted]";
  }
  toJSON(): string {
    return "[redacted]";
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "[redacted]";
  }
}
