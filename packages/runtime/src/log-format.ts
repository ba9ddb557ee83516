// Owns how a log record is written down as Istio does: its JSON, its plain lines.

export const LOG_FORMATS = ["ambit-json", "json", "plain"] as const;
/** `ambit-json`: the message is `msg` (log.ts writes that itself). `json`: it is `message`, as in Istio. `plain`: tabs and `key=value`, as in Istio. */
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LogRecord {
  readonly time: string;
  readonly level: string;
  readonly scope: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Without the end of the line. undefined for fields that cannot be serialised: cycles, a throwing toJSON. */
export function formatRecord(r: LogRecord, format: Exclude<LogFormat, "ambit-json">, replacer: (key: string, value: unknown) => unknown): string | undefined {
  const { time, level, scope, message, fields } = r;
  try {
    if (format === "plain") return [time, level, scope, `${message}${pairs(fields, replacer)}`].join("\t");
    return JSON.stringify({ time, level, scope, message, ...fields }, replacer);
  } catch {
    return undefined;
  }
}

function pairs(fields: LogRecord["fields"], replacer: (key: string, value: unknown) => unknown): string {
  const out = Object.entries(fields).filter(([, v]) => v !== undefined).map(([key, value]) => `${key}=${plain(value, replacer)}`);
  return out.length === 0 ? "" : `\t${out.join(" ")}`;
}

/** What needs no quotes: an address, a number, a name. Everything else is a JSON string, so that no value can begin another field or line. */
const BARE = /^[A-Za-z0-9_.:[\]/@%+-]+$/;
/** These are strings for people, always quoted as Istio writes them; addresses and directions of its own lines are too. */
const plain = (value: unknown, replacer: (key: string, value: unknown) => unknown): string => {
  const seen = replacer("", value);
  if (typeof seen === "number" || typeof seen === "boolean") return String(seen);
  if (typeof seen === "string") return isAddress(seen) ? seen : JSON.stringify(seen);
  return JSON.stringify(seen, replacer) ?? "null";
};

const isAddress = (text: string): boolean => /:\d+$/.test(text) && BARE.test(text) && !text.startsWith("spiffe:");
