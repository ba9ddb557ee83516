// Decides what of a text or an object must not leave the cluster in a report: keys, tokens, passwords, and what the mesh does not read.

export const REDACTED = "[redacted]";

/** Names whose values are secret wherever they stand: fields, variables, headers, keys of a ConfigMap. */
const SECRET_NAME = /(^|[^a-z])(pass(word|wd|phrase)?|pwd|secrets?|tokens?|credentials?|api-?key|access-?key|secret-?key|private-?key|client-?secret|auth(orization)?|cookie|bearer|dsn|connection-?string)$/;
/** Of names that end so, these are names of other things. */
const NO_SECRET = /(^|[^a-z])(secretname|tokenpath|audience|passthrough)$/;
/** `DB_PASSWORD`, `dbPassword` and `db-password` are one name. */
const plain = (name: string): string => name.replace(/([a-z0-9])([A-Z])/g, "$1-$2").toLowerCase().replaceAll("_", "-");
/** Whether a value under this name is to be left out. */
export const isSecretName = (name: string): boolean => SECRET_NAME.test(plain(name)) && !NO_SECRET.test(plain(name));

// Every repetition that could begin anywhere in a run is bounded or held to the run's first character: reports are megabytes, and time is linear.

/** A PEM block of anything private up to the next end of any block, or to the end of the text where it is cut off. */
const PRIVATE_PEM = /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[^]*?(?:-----END [A-Z0-9 ]{0,60}-----|$)/g;
/** `-----BEGIN` in base64. */
const BASE64_PEM = /LS0tLS1CRUdJTi[A-Za-z0-9+/=_-]*/g;
const JWT = /(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,16384}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*/g;
const AUTH_SCHEME = /\b(Bearer|Basic)(\s+)[A-Za-z0-9+/=._~-]{8,}/gi;
const USER_INFO = /((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/@"'<>]+@/gi;
/** Members of a JWK that are private: RFC 7518 §6.2.2, §6.3.2, §6.4. */
const JWK_MEMBER = /("(?:d|p|q|dp|dq|qi|k)"\s*:\s*")[A-Za-z0-9_=-]{16,}(")/g;
/** `name:`, `name=`, `"name":`, also with the quotes escaped as in JSON within JSON. */
const NAMED = /(?<![A-Za-z0-9_.-])([A-Za-z0-9_.-]{1,100})(?:\\{0,15}["'])?[ \t]*[:=][ \t]*/g;
/** What may follow: a quoted text, one in escaped quotes, a block of YAML, a word. */
const VALUE = /(?<quote>["'])(?:\\.|(?!\k<quote>)[^\\\n])*(?:\k<quote>|(?=\n|$))|(?<mark>\\+["'])(?:(?!\k<mark>)[^\n])*(?:\k<mark>|(?=\n|$))|(?<block>[|>][+-]?\d?[ \t]*\n(?<indent>[ \t]+)[^\n]*(?:\n(?:\k<indent>[^\n]*|[ \t]*(?=\n)))*)|[^\s"',;&}\]\\]+/y;
/** Known shapes of tokens that carry no name: AWS, GitHub, Slack, Google. */
const SHAPES = /\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{35})\b/g;

/** Text of any kind: a log, a dump, YAML, JSON. Certificates and public keys stay. */
export function redactText(text: string): string {
  return redactNamed(text
    .replace(PRIVATE_PEM, REDACTED)
    .replace(BASE64_PEM, (all) => (holdsPrivate(all) ? REDACTED : all))
    .replace(JWT, REDACTED)
    .replace(AUTH_SCHEME, `$1$2${REDACTED}`)
    .replace(USER_INFO, `$1${REDACTED}@`)
    .replace(SHAPES, REDACTED)
    .replace(JWK_MEMBER, `$1${REDACTED}$2`));
}

/** Values under secret names. A value under another name is looked into: it may be a text with names of its own. */
function redactNamed(text: string): string {
  let out = "";
  let done = 0;
  const names = new RegExp(NAMED);
  const values = new RegExp(VALUE);
  for (let found = names.exec(text); found !== null; found = names.exec(text)) {
    if (!isSecretName(found[1] ?? "")) continue;
    values.lastIndex = names.lastIndex;
    const value = values.exec(text);
    if (value === null || harmless(value[0])) continue;
    const mark = value.groups?.["quote"] ?? value.groups?.["mark"] ?? "";
    out += `${text.slice(done, names.lastIndex)}${mark}${REDACTED}${mark}`;
    done = values.lastIndex;
    names.lastIndex = done;
  }
  return out + text.slice(done);
}

/** Structure, not a value: an opening bracket, a truth value, a small number, a scheme whose token is gone already. */
const harmless = (value: string): boolean => value.includes(REDACTED) || /^(["']?)(?:[[{].*|true|false|null|none|bearer|basic|\d{1,4}|)\1$/i.test(value);

function holdsPrivate(base64: string): boolean {
  // Three alignments of the words in base64 would be needed to search without decoding.
  return /PRIVATE KEY-----/.test(decodeBase64(base64));
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
function decodeBase64(text: string): string {
  let out = "";
  let bits = 0;
  let held = 0;
  for (const c of text.replaceAll("-", "+").replaceAll("_", "/")) {
    const value = ALPHABET.indexOf(c);
    if (value < 0) break;
    bits = ((bits << 6) | value) & 0xffff;
    held += 6;
    if (held >= 8) { held -= 8; out += String.fromCharCode((bits >> held) & 0xff); }
  }
  return out;
}

type Json = Readonly<Record<string, unknown>>;
const isRecord = (v: unknown): v is Json => typeof v === "object" && v !== null && !Array.isArray(v);

/** Annotations that repeat the whole object, as it was before anything was taken out of it. */
const COPIES = ["kubectl.kubernetes.io/last-applied-configuration"];
/** What the mesh reads of a container; the rest (variables, arguments, hooks) is the application's own. */
const CONTAINER_FIELDS = ["name", "image", "ports", "livenessProbe", "readinessProbe", "startupProbe", "resources", "restartPolicy", "securityContext"];
const POD_FIELDS = ["nodeName", "serviceAccountName", "hostNetwork", "restartPolicy", "nodeSelector", "tolerations", "priorityClassName", "terminationGracePeriodSeconds"];

/** An object without what is secret; undefined for a Secret, which is never in a report. `whole`: a part of the mesh, whose settings matter. */
export function redactObject(object: Json, whole = false): Json | undefined {
  if (object["kind"] === "Secret") return undefined;
  const shaped = object["kind"] === "Pod" && !whole ? { ...object, spec: podOf(object["spec"]) } : object;
  const metadata = isRecord(shaped["metadata"]) ? shaped["metadata"] : {};
  const { managedFields: _, ...rest } = metadata;
  const annotations = isRecord(rest["annotations"]) ? Object.fromEntries(Object.entries(rest["annotations"]).filter(([k]) => !COPIES.includes(k))) : undefined;
  return walk({ ...shaped, metadata: { ...rest, ...(annotations === undefined ? {} : { annotations }) } }) as Json;
}

function podOf(spec: unknown): Json {
  const fields = isRecord(spec) ? spec : {};
  const containers = (name: string): Json => (Array.isArray(fields[name]) ? { [name]: fields[name].map((c: unknown) => only(isRecord(c) ? c : {}, CONTAINER_FIELDS)) } : {});
  return { ...only(fields, POD_FIELDS), ...containers("containers"), ...containers("initContainers") };
}
const only = (from: Json, keys: readonly string[]): Json => Object.fromEntries(keys.filter((k) => from[k] !== undefined).map((k) => [k, from[k]]));

function walk(value: unknown): unknown {
  if (typeof value === "string") return redactText(value);
  if (Array.isArray(value)) return value.map(walk);
  if (!isRecord(value)) return value;
  // Variables and headers are pairs: the name says what the value is.
  const pair = typeof value["name"] === "string" && isSecretName(value["name"]);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, (isSecretName(k) || (pair && k === "value")) && typeof v === "string" ? REDACTED : walk(v)]));
}
