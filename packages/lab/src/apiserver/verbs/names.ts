// Owns the rules for names, keys and label values, and the words upstream refuses them with.
import type { Row } from "../registry/row.ts";
import { invalidValue, type FieldProblem } from "../status.ts";

const MAX_SUBDOMAIN_CHARS = 253;
export const MAX_LABEL_CHARS = 63;

const LABEL = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;
const LABEL_1035 = /^[a-z](?:[-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const NAME_PART = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const CONFIG_KEY = /^[-._a-zA-Z0-9]+$/;

const LABEL_TEXT =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric " +
  "character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035_TEXT =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an " +
  "alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_TEXT =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an " +
  "alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const NAME_PART_TEXT =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " +
  "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_TEXT =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " +
  "character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY_TEXT =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', " +
  "regex used for validation is '[-._a-zA-Z0-9]+')";

const tooLong = (max: number): string => `must be no more than ${max} characters`;

/** Every text that says what is wrong with a subdomain. */
export function subdomainFaults(name: string): string[] {
  const long = name.length > MAX_SUBDOMAIN_CHARS ? [tooLong(MAX_SUBDOMAIN_CHARS)] : [];
  return SUBDOMAIN.test(name) ? long : [...long, SUBDOMAIN_TEXT];
}

function labelFaults(name: string): string[] {
  const long = name.length > MAX_LABEL_CHARS ? [tooLong(MAX_LABEL_CHARS)] : [];
  if (LABEL.test(name)) return long;
  return [...long, SUBDOMAIN.test(name) ? "must not contain dots" : LABEL_TEXT];
}

function label1035Faults(name: string): string[] {
  const long = name.length > MAX_LABEL_CHARS ? [tooLong(MAX_LABEL_CHARS)] : [];
  return LABEL_1035.test(name) ? long : [...long, LABEL_1035_TEXT];
}

function pathFaults(name: string): string[] {
  if (name === "." || name === "..") return [`may not be '${name}'`];
  return ["/", "%"].filter((mark) => name.includes(mark)).map((mark) => `may not contain '${mark}'`);
}

const RULES: Record<Row["nameRule"], (name: string) => string[]> = {
  subdomain: subdomainFaults,
  label: labelFaults,
  "label-1035": label1035Faults,
  path: pathFaults,
};

export function validateName(rule: Row["nameRule"], name: string, field: string): FieldProblem[] {
  return RULES[rule](name).map((fault) => invalidValue(field, name, fault));
}

/** A qualified name: optional DNS prefix, slash, name part. */
export function validateKey(key: string, field: string): FieldProblem[] {
  return keyFaults(key).map((fault) => invalidValue(field, key, fault));
}

function keyFaults(key: string): string[] {
  const parts = key.split("/");
  if (parts.length > 2) return [`a valid label key ${NAME_PART_TEXT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`];
  const faults: string[] = [];
  const prefix = parts.length === 2 ? (parts[0] as string) : null;
  if (prefix === "") faults.push("prefix part must be non-empty");
  else if (prefix !== null) faults.push(...subdomainFaults(prefix).map((fault) => `prefix part ${fault}`));
  const name = parts[parts.length - 1] as string;
  if (name === "") faults.push("name part must be non-empty");
  else if (name.length > MAX_LABEL_CHARS) faults.push(`name part ${tooLong(MAX_LABEL_CHARS)}`);
  if (!NAME_PART.test(name)) faults.push(`name part ${NAME_PART_TEXT}`);
  return faults;
}

export function validateLabelValue(value: unknown, field: string): FieldProblem[] {
  const text = typeof value === "string" ? value : "";
  const faults = text.length > MAX_LABEL_CHARS ? [tooLong(MAX_LABEL_CHARS)] : [];
  if (text !== "" && !NAME_PART.test(text)) faults.push(VALUE_TEXT);
  return faults.map((fault) => invalidValue(field, value, fault));
}

/** A key of a ConfigMap or Secret: a file name. */
export function validateConfigKey(key: string, field: string): FieldProblem[] {
  const faults = key.length > MAX_SUBDOMAIN_CHARS ? [tooLong(MAX_SUBDOMAIN_CHARS)] : [];
  if (!CONFIG_KEY.test(key)) faults.push(CONFIG_KEY_TEXT);
  else if (key === "." || key === "..") faults.push(`must not be '${key}'`);
  else if (key.startsWith("..")) faults.push("must not start with '..'");
  return faults.map((fault) => invalidValue(field, key, fault));
}
