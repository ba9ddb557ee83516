// Owns the scale subresource: a Scale read from and written to the paths a kind names for it.
import type { Api } from "../context.ts";
import { assign, evaluate, parseJsonPath } from "../crd/json-path.ts";
import { decodeObject, mediaType, readBody } from "../http/body.ts";
import type { Exchange } from "../http/exchange.ts";
import { negotiate } from "../http/negotiate.ts";
import type { ResourceRequest } from "../http/route.ts";
import { asNumber, asObject, asString, isObject, type JsonObject } from "../json.ts";
import { builtinSchema } from "../openapi/builtin.ts";
import type { Row, ScalePaths } from "../registry/row.ts";
import { formatSelector, labelSelectorOf } from "../selectors.ts";
import { badRequest, internal, invalid, invalidValue, methodNotAllowed } from "../status.ts";
import { metadataOf } from "./metadata.ts";
import { patchDocument } from "./patch.ts";
import { requireEntry } from "./read.ts";
import { present } from "./render.ts";
import { writeOf } from "./resource.ts";
import { update } from "./write.ts";

export async function serveScale(api: Api, exchange: Exchange, row: Row, paths: ScalePaths, target: ResourceRequest): Promise<void> {
  exchange.negotiated = negotiate(exchange.request.headers.accept);
  const current = () => scaleOf(row, paths, present(row, requireEntry(api, row, target.namespace, target.name).object));
  if (target.verb === "get") return exchange.reply(200, current());
  if (target.verb !== "update" && target.verb !== "patch") throw methodNotAllowed();
  const body = await readBody(exchange.request);
  const change =
    target.verb === "patch"
      ? patchDocument({ api, exchange, row, target, body }, builtinSchema("autoscaling", "v1", "Scale") ?? {})
      : () => decodeObject(body, mediaType(exchange.request));
  const write = writeOf(api, exchange, row, target);
  const entry = await update(write, "scale", (live) => {
    const wanted = change(scaleOf(row, paths, live));
    if (wanted["kind"] !== undefined && wanted["kind"] !== "Scale") throw badRequest("the object of a scale subresource must be a Scale");
    const replicas = asObject(wanted["spec"])["replicas"] ?? 0;
    if (!Number.isSafeInteger(replicas) || (replicas as number) < 0) {
      const subject = { group: "autoscaling", resource: "scales", kind: "Scale" };
      throw invalid(subject, target.name, [invalidValue("spec.replicas", replicas, "must be greater than or equal to 0")]);
    }
    assign(parseJsonPath(paths.spec) ?? [], live, replicas);
    const version = asString(asObject(wanted["metadata"])["resourceVersion"]);
    if (version !== "") metadataOf(live)["resourceVersion"] = version;
    return live;
  });
  exchange.reply(200, scaleOf(row, paths, present(row, entry.object)));
}

function scaleOf(row: Row, paths: ScalePaths, object: JsonObject): JsonObject {
  const metadata = metadataOf(object);
  const read = (path: string) => evaluate(parseJsonPath(path) ?? [], object)[0];
  const shown: JsonObject = {};
  for (const field of ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]) {
    const value = metadata[field];
    if (value !== undefined) shown[field] = value;
  }
  // A custom kind names the path, and has to have something there.
  if (row.custom !== null && read(paths.spec) === undefined) throw internal(`the spec replicas field "${paths.spec}" does not exist`);
  const replicas = asNumber(read(paths.spec));
  const status: JsonObject = { replicas: asNumber(read(paths.status)) };
  const selector = paths.selector === null ? undefined : read(paths.selector);
  if (typeof selector === "string") status["selector"] = selector;
  else if (isObject(selector)) status["selector"] = formatSelector(labelSelectorOf(selector) ?? []);
  return { kind: "Scale", apiVersion: "autoscaling/v1", metadata: shown, spec: replicas === 0 ? {} : { replicas }, status };
}
