// Owns the reviews: who a token or caller is, and what somebody may do.
import type { Api } from "../context.ts";
import { decodeObject, mediaType, readBody } from "../http/body.ts";
import type { Exchange } from "../http/exchange.ts";
import type { ResourceRequest } from "../http/route.ts";
import { asObject, asString, asStrings, isObject, type Json, type JsonObject } from "../json.ts";
import type { Row } from "../registry/row.ts";
import { badRequest, invalid, invalidValue, methodNotAllowed } from "../status.ts";
import { takeIn } from "../verbs/intake.ts";
import { readWriteOptions } from "../verbs/options.ts";
import type { Attributes, Rule } from "./authorizer.ts";
import { ISSUER } from "./tokens.ts";
import type { User } from "./user.ts";

export async function serveReview(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Promise<void> {
  const body = await readBody(exchange.request);
  if (target.verb !== "create") throw methodNotAllowed();
  const options = readWriteOptions(exchange);
  const review = takeIn(exchange, row, target, decodeObject(body, mediaType(exchange.request)), options.fieldValidation);
  review["status"] = answer(api, exchange, row, target, asObject(review["spec"]));
  exchange.reply(201, review);
}

function answer(api: Api, exchange: Exchange, row: Row, target: ResourceRequest, spec: JsonObject): JsonObject {
  switch (row.resource) {
    case "tokenreviews":
      return reviewToken(api, row, spec);
    case "selfsubjectreviews":
      return { userInfo: userInfo(exchange.user) };
    case "selfsubjectaccessreviews":
      return reviewAccess(api, row, exchange.user, spec);
    case "subjectaccessreviews":
      return reviewAccess(api, row, subjectOf(row, spec), spec);
    case "localsubjectaccessreviews": {
      const namespace = asString(asObject(spec["resourceAttributes"])["namespace"]);
      if (namespace !== target.namespace) {
        const field = "spec.resourceAttributes.namespace";
        throw invalid({ ...row, kind: "" }, "", [invalidValue(field, namespace, "must match metadata.namespace")]);
      }
      return reviewAccess(api, row, subjectOf(row, spec), spec);
    }
    case "selfsubjectrulesreviews":
      return reviewRules(api, exchange.user, spec);
    default:
      throw badRequest(`no review ${row.resource}`);
  }
}

function reviewToken(api: Api, row: Row, spec: JsonObject): JsonObject {
  const token = asString(spec["token"]);
  if (token === "") throw badRequest("token is required for TokenReview in authentication");
  const asked = asStrings(spec["audiences"]);
  const verified = api.tokens.verify(token, asked.length > 0 ? asked : [ISSUER]);
  if (!verified.ok) return { user: {}, error: verified.why };
  const status: JsonObject = { authenticated: true, user: userInfo(verified.user) };
  status["audiences"] = [...verified.audiences];
  return status;
}

function userInfo(user: User): JsonObject {
  const info: JsonObject = { username: user.name, groups: [...user.groups] };
  if (user.uid !== "") info["uid"] = user.uid;
  const extra: JsonObject = {};
  for (const [key, values] of Object.entries(user.extra)) extra[key] = [...values];
  if (Object.keys(extra).length > 0) info["extra"] = extra;
  return info;
}

function subjectOf(row: Row, spec: JsonObject): User {
  const name = asString(spec["user"]);
  const groups = asStrings(spec["groups"]);
  if (name === "" && groups.length === 0) {
    throw invalid({ ...row, kind: "" }, "", [invalidValue("spec.user", "", "at least one of user or group must be specified")]);
  }
  return { name, uid: asString(spec["uid"]), groups, extra: {} };
}

function reviewAccess(api: Api, row: Row, user: User, spec: JsonObject): JsonObject {
  const attributes = attributesOf(row, spec);
  const decision = api.authorizer.authorize(user, attributes);
  const status: JsonObject = { allowed: decision.allowed };
  if (decision.allowed && decision.why !== "") status["reason"] = decision.why;
  return status;
}

function attributesOf(row: Row, spec: JsonObject): Attributes {
  const resource = spec["resourceAttributes"];
  const path = spec["nonResourceAttributes"];
  if (isObject(resource) === isObject(path)) {
    const why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    throw invalid({ ...row, kind: "" }, "", [invalidValue("spec.resourceAttributes", resource ?? null, why)]);
  }
  if (isObject(path)) return { verb: asString(path["verb"]), path: asString(path["path"]) };
  const given = asObject(resource);
  return {
    verb: asString(given["verb"]),
    group: asString(given["group"]),
    resource: asString(given["resource"]),
    subresource: asString(given["subresource"]),
    namespace: asString(given["namespace"]),
    name: asString(given["name"]),
  };
}

function reviewRules(api: Api, user: User, spec: JsonObject): JsonObject {
  const rules = api.authorizer.rulesFor(user, asString(spec["namespace"]));
  const list = (values: readonly string[]): Json => [...values];
  const resourceRules = rules.filter((rule) => rule.resources.length > 0).map((rule: Rule) => {
    const shown: JsonObject = { verbs: list(rule.verbs), apiGroups: list(rule.apiGroups), resources: list(rule.resources) };
    if (rule.resourceNames.length > 0) shown["resourceNames"] = list(rule.resourceNames);
    return shown;
  });
  const pathRules = rules.filter((rule) => rule.nonResourceURLs.length > 0);
  const nonResourceRules = pathRules.map((rule) => ({ verbs: list(rule.verbs), nonResourceURLs: list(rule.nonResourceURLs) }));
  return { resourceRules, nonResourceRules, incomplete: false };
}
