// Owns the way of every request through the server: who, may they, what, and errors as Status objects.
import { authenticate, impersonate } from "../auth/authenticate.ts";
import { ANONYMOUS } from "../auth/user.ts";
import type { Api } from "../context.ts";
import { serveReview } from "../auth/reviews.ts";
import type { Row } from "../registry/row.ts";
import { ApiError, badRequest, forbidden, internal, methodNotAllowed, noSuchResource, PageNotFound } from "../status.ts";
import { serveResource } from "../verbs/resource.ts";
import { serveSubresource } from "../verbs/subresources.ts";
import type { ApiRequest } from "./body.ts";
import { Exchange, type ApiResponse } from "./exchange.ts";
import { negotiate } from "./negotiate.ts";
import { servePath } from "./paths.ts";
import { readTarget, splitUrl, type ResourceRequest, type Target } from "./route.ts";

export async function handle(api: Api, request: ApiRequest, response: ApiResponse): Promise<void> {
  let exchange = new Exchange(request, response, { kind: "path", verb: "get", path: "" }, new URLSearchParams(), ANONYMOUS);
  // A connection that breaks is the client's business; without listeners it would end the process.
  request.on("error", () => undefined);
  response.on("error", () => undefined);
  try {
    const { path, query } = splitUrl(request.url ?? "/");
    const target = readTarget(request.method ?? "GET", path, query);
    exchange = new Exchange(request, response, target, query, ANONYMOUS);
    admitUser(api, exchange);
    if (target.kind === "path") await servePath(api, exchange, target);
    else await serveObject(api, exchange, target);
  } catch (error) {
    answerError(api, exchange, asApiError(api, exchange, error));
  }
}

/** The client may have gone while its request was refused: that must not end the process. */
function answerError(api: Api, exchange: Exchange, error: ApiError): void {
  try {
    exchange.fail(error);
  } catch (cause) {
    api.log.debug("answer not sent", { path: exchange.target.path, error: String(cause) });
  }
}

/** Authenticates, impersonates and authorizes; throws 401 or 403. */
export function admitUser(api: Api, exchange: Exchange): void {
  const caller = authenticate(exchange.request, api.tokens);
  exchange.user = impersonate(exchange.request, caller, api.authorizer);
  authorize(api, exchange, exchange.target);
}

function authorize(api: Api, exchange: Exchange, target: Target): void {
  const decision = api.authorizer.authorize(exchange.user, target);
  if (decision.allowed) return;
  if (target.kind === "path") throw new ApiError(403, "Forbidden", `forbidden: ${decision.why}`, {});
  throw forbidden({ group: target.group, resource: target.resource, kind: "" }, target.name, decision.why);
}

export function asApiError(api: Api, exchange: Exchange, error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  // Deep recursion on a hostile document ends here; everything else is a mistake of ours worth a line.
  if (error instanceof RangeError) return badRequest(`the request is too complex: ${error.message}`);
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  api.log.error("request failed", { path: exchange.target.path, method: exchange.request.method ?? "", error: text });
  return internal(error instanceof Error ? error.message : String(error));
}

export function findRow(api: Api, target: ResourceRequest): Row {
  const row = api.registry.find(target.group, target.version, target.resource);
  if (row === undefined) throw api.registry.hasBuiltinGroup(target.group) ? noSuchResource() : new PageNotFound();
  const inNamespace = target.namespace !== "" && target.resource !== "namespaces";
  if (!row.namespaced && inNamespace) throw noSuchResource();
  if (row.namespaced && target.name !== "" && target.namespace === "") throw noSuchResource();
  return row;
}

async function serveObject(api: Api, exchange: Exchange, target: ResourceRequest): Promise<void> {
  const row = findRow(api, target);
  if (row.deprecation !== undefined) exchange.warn(row.deprecation);
  if (exchange.request.method === "HEAD") throw methodNotAllowed();
  const { subresource } = target;
  const plain = subresource === "" || (subresource === "status" && row.status !== null);
  if (!plain) return serveSubresource(api, exchange, row, target);
  exchange.negotiated = negotiate(exchange.request.headers.accept);
  if (row.virtual) return serveReview(api, exchange, row, target);
  if (subresource === "status" && !["get", "update", "patch"].includes(target.verb)) throw methodNotAllowed();
  return serveResource(api, exchange, row, target);
}
