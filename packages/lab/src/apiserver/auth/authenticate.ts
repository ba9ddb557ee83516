// Owns authentication: client certificate or bearer token to a user, and impersonation on top of it.
import type { TLSSocket, PeerCertificate } from "node:tls";
import type { ApiRequest } from "../http/body.ts";
import { badRequest, forbidden, unauthorized } from "../status.ts";
import type { Authorizer } from "./authorizer.ts";
import { ISSUER, type Tokens } from "./tokens.ts";
import { ANONYMOUS, AUTHENTICATED, type User } from "./user.ts";

/** Certificate users by connection: one look per connection instead of one per request. */
const byConnection = new WeakMap<object, User | null>();

/** The user of a request; anonymous without credentials; throws 401 when credentials are given and wrong. */
export function authenticate(request: ApiRequest, tokens: Tokens): User {
  const header = request.headers.authorization;
  if (header !== undefined && /^bearer /i.test(header)) {
    const verified = tokens.verify(header.slice("bearer ".length).trim(), [ISSUER]);
    if (!verified.ok) throw unauthorized();
    return verified.user;
  }
  const byCertificate = certificateUser(request);
  if (byCertificate !== null) return byCertificate;
  if (header !== undefined) throw unauthorized();
  return ANONYMOUS;
}

function certificateUser(request: ApiRequest): User | null {
  const session = "stream" in request ? request.stream.session : undefined;
  const connection: object = session ?? request.socket;
  const known = byConnection.get(connection);
  if (known !== undefined) return known;
  const socket = (session?.socket ?? request.socket) as TLSSocket;
  const certificate = socket.getPeerCertificate();
  if (certificate === null || Object.keys(certificate).length === 0) {
    byConnection.set(connection, null);
    return null;
  }
  if (!socket.authorized) throw unauthorized();
  const user = userOf(certificate);
  byConnection.set(connection, user);
  return user;
}

function userOf(certificate: PeerCertificate): User {
  const subject = certificate.subject as unknown as Record<string, string | string[] | undefined>; // repeated parts come as arrays
  const first = (part: string | string[] | undefined) => (Array.isArray(part) ? (part[0] ?? "") : (part ?? ""));
  const name = first(subject["CN"]);
  if (name === "") throw unauthorized();
  const organizations = subject["O"] ?? [];
  const groups = Array.isArray(organizations) ? organizations : [organizations];
  return { name, uid: "", groups: [...groups, AUTHENTICATED], extra: {} };
}

/** Replaces the user when Impersonate-* headers ask for it and RBAC allows it. */
export function impersonate(request: ApiRequest, user: User, authorizer: Authorizer): User {
  const headers = request.headers;
  const name = single(headers["impersonate-user"]);
  const uid = single(headers["impersonate-uid"]);
  const groups = many(request, "impersonate-group");
  const extra = extras(request);
  if (name === "" && uid === "" && groups.length === 0 && Object.keys(extra).length === 0) return user;
  const check = (resource: string, subresource: string, value: string, group = "", namespace = "") => {
    const asked = { verb: "impersonate", group, resource, subresource, namespace, name: value };
    const decision = authorizer.authorize(user, asked);
    if (!decision.allowed) throw forbidden({ group, resource, kind: "" }, value, decision.why);
  };
  if (name === "") throw badRequest(`requested [${groups.map((group) => `{Group  ${group}    }`).join(" ")}] without impersonating a user`);
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(name);
  if (account === null) check("users", "", name);
  else check("serviceaccounts", "", account[2] as string, "", account[1] as string);
  for (const group of groups) check("groups", "", group);
  if (uid !== "") check("uids", "", uid, "authentication.k8s.io");
  for (const [key, values] of Object.entries(extra)) {
    for (const value of values) check("userextras", key, value, "authentication.k8s.io");
  }
  const implied = account === null ? [] : ["system:serviceaccounts", `system:serviceaccounts:${account[1]}`];
  const all = new Set([...(groups.length > 0 ? groups : implied), AUTHENTICATED]);
  if (name === ANONYMOUS.name) return { ...ANONYMOUS, extra };
  return { name, uid, groups: [...all], extra };
}

function single(value: string | string[] | undefined): string {
  return Array.isArray(value) ? (value[0] ?? "") : (value ?? "");
}

/** Values of a header that may be repeated: node joins repeats of unknown headers, so read the raw list. */
function many(request: ApiRequest, name: string): string[] {
  const values: string[] = [];
  const raw = request.rawHeaders;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if ((raw[i] as string).toLowerCase() === name) values.push(raw[i + 1] as string);
  }
  return values;
}

const EXTRA_PREFIX = "impersonate-extra-";

function extras(request: ApiRequest): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const header of Object.keys(request.headers)) {
    if (!header.startsWith(EXTRA_PREFIX)) continue;
    let key = header.slice(EXTRA_PREFIX.length);
    try {
      key = decodeURIComponent(key);
    } catch {
      // Keys may be percent-encoded; one that is not valid so is taken as it stands, as upstream does.
    }
    found[key] = many(request, header);
  }
  return found;
}
