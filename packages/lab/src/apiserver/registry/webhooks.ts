// Owns the rows of admissionregistration: webhook configurations with their defaults and validation.
import { asArray, asNumber, asObject, asObjects, asString, asStrings, ensureObject, isObject, setDefault, type JsonObject } from "../json.ts";
import { forbiddenField, invalidValue, required, unsupportedValue, type FieldProblem } from "../status.ts";
import { AGE, count, created, printer, sizeOf } from "../table/cells.ts";
import { DEFAULT_TIMEOUT_S } from "../webhooks/hooks.ts";
import { row, type Row } from "./row.ts";

const GROUP = { group: "admissionregistration.k8s.io", version: "v1", namespaced: false, generation: true, categories: ["api-extensions"] };
const MAX_TIMEOUT_S = 30;

function defaults(mutating: boolean): (object: JsonObject) => void {
  return (object) => {
    for (const webhook of asObjects(object["webhooks"])) {
      setDefault(webhook, "failurePolicy", "Fail");
      setDefault(webhook, "matchPolicy", "Equivalent");
      setDefault(webhook, "timeoutSeconds", DEFAULT_TIMEOUT_S);
      ensureObject(webhook, "namespaceSelector");
      ensureObject(webhook, "objectSelector");
      if (mutating) setDefault(webhook, "reinvocationPolicy", "Never");
      for (const rule of asObjects(webhook["rules"])) setDefault(rule, "scope", "*");
      const service = asObject(webhook["clientConfig"])["service"];
      if (isObject(service)) setDefault(service, "port", 443);
    }
  };
}

function validate(object: JsonObject): FieldProblem[] {
  return asObjects(object["webhooks"]).flatMap((webhook, i) => validateWebhook(webhook, `webhooks[${i}]`));
}

function validateWebhook(webhook: JsonObject, at: string): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const name = asString(webhook["name"]);
  if (name.split(".").length < 3) problems.push(invalidValue(`${at}.name`, name, "should be a domain with at least three segments separated by dots"));
  const oneOf = (field: string, allowed: string[]) => {
    const value = webhook[field];
    if (value !== undefined && !allowed.includes(asString(value))) problems.push(unsupportedValue(`${at}.${field}`, value, allowed));
  };
  oneOf("failurePolicy", ["Fail", "Ignore"]);
  oneOf("matchPolicy", ["Equivalent", "Exact"]);
  oneOf("reinvocationPolicy", ["IfNeeded", "Never"]);
  if (webhook["sideEffects"] === undefined) problems.push(required(`${at}.sideEffects`, "must specify one of None, NoneOnDryRun"));
  else oneOf("sideEffects", ["None", "NoneOnDryRun"]);
  if (!asStrings(webhook["admissionReviewVersions"]).includes("v1")) {
    problems.push(invalidValue(`${at}.admissionReviewVersions`, webhook["admissionReviewVersions"] ?? [], "must include v1"));
  }
  const timeout = asNumber(webhook["timeoutSeconds"]);
  if (timeout < 1 || timeout > MAX_TIMEOUT_S) {
    problems.push(invalidValue(`${at}.timeoutSeconds`, timeout, "the timeout value must be between 1 and 30 seconds"));
  }
  if (asArray(webhook["matchConditions"]).length > 0) {
    problems.push(forbiddenField(`${at}.matchConditions`, "this server does not evaluate match conditions"));
  }
  problems.push(...validateRules(asObjects(webhook["rules"]), at), ...validateClient(asObject(webhook["clientConfig"]), `${at}.clientConfig`));
  return problems;
}

function validateRules(rules: readonly JsonObject[], at: string): FieldProblem[] {
  const problems: FieldProblem[] = [];
  for (const [i, rule] of rules.entries()) {
    for (const field of ["operations", "apiGroups", "apiVersions", "resources"]) {
      if (asStrings(rule[field]).length === 0) problems.push(required(`${at}.rules[${i}].${field}`));
    }
    const operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    for (const operation of asStrings(rule["operations"])) {
      if (!operations.includes(operation)) problems.push(unsupportedValue(`${at}.rules[${i}].operations`, operation, operations));
    }
  }
  return problems;
}

function validateClient(client: JsonObject, at: string): FieldProblem[] {
  const url = asString(client["url"]);
  const service = client["service"];
  if ((url !== "") === isObject(service)) return [required(at, "exactly one of url or service is required")];
  if (isObject(service)) {
    return ["name", "namespace"].filter((field) => asString(service[field]) === "").map((field) => required(`${at}.service.${field}`));
  }
  if (!URL.canParse(url)) return [invalidValue(`${at}.url`, url, "url must be a valid URL")];
  const { protocol, username, hash } = new URL(url);
  const fits = protocol === "https:" && username === "" && hash === "";
  return fits ? [] : [invalidValue(`${at}.url`, url, "'https' is the only allowed URL scheme, without user information and fragment")];
}

const webhookPrinter = printer([count("Webhooks"), AGE], (object) => [sizeOf(object["webhooks"]), created(object)]);

export const webhookRows: readonly Row[] = [
  row({
    ...GROUP,
    resource: "validatingwebhookconfigurations",
    kind: "ValidatingWebhookConfiguration",
    defaults: defaults(false),
    validate,
    printer: webhookPrinter,
  }),
  row({
    ...GROUP,
    resource: "mutatingwebhookconfigurations",
    kind: "MutatingWebhookConfiguration",
    defaults: defaults(true),
    validate,
    printer: webhookPrinter,
  }),
];
