// Owns the addresses of OpenAPI documents.
import type { Api } from "../context.ts";
import { noSuchResource } from "../status.ts";
import type { Exchange } from "./exchange.ts";

export function serveOpenApi(_api: Api, _exchange: Exchange, _path: string): void {
  throw noSuchResource();
}
