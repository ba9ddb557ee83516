// Owns the normal form of an image's name, as containerd has it: registry, repository, tag or digest all spelled out.

const DEFAULT_REGISTRY = "docker.io";
/** Same bound as the distribution reference grammar. */
const NAME_MAX = 255;
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d+)?$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

export type ImageName = { readonly name: string } | { readonly problem: string };

/**
 * `nginx` becomes `docker.io/library/nginx:latest`; a digest is kept (a tag beside it is dropped, as containerd does).
 */
export function normalizeImageName(text: string): ImageName {
  const bad = (why: string): ImageName => ({ problem: `"${text.slice(0, NAME_MAX)}" is not an image name: ${why}` });
  const [beforeDigest = "", digest] = text.split("@", 2);
  if (digest !== undefined && !DIGEST.test(digest)) return bad("the digest is not sha256:<64 hex digits>");
  const lastColon = beforeDigest.lastIndexOf(":");
  const tagged = lastColon > beforeDigest.lastIndexOf("/");
  const repository = tagged ? beforeDigest.slice(0, lastColon) : beforeDigest;
  const tag = tagged ? beforeDigest.slice(lastColon + 1) : undefined;
  if (tag !== undefined && !TAG.test(tag)) return bad("the tag has a character or a length it may not have");
  const parts = repository.split("/");
  const first = parts[0] ?? "";
  // A first part with a dot, a colon or the name localhost is a registry; so is one with capitals.
  const hasHost = parts.length > 1 && (/[.:]/.test(first) || first === "localhost" || first.toLowerCase() !== first);
  let host = hasHost ? first : DEFAULT_REGISTRY;
  const path = hasHost ? parts.slice(1) : parts;
  if (!HOST.test(host)) return bad(`"${host}" is not a registry's name`);
  if (host === "index.docker.io") host = DEFAULT_REGISTRY;
  if (!path.every((p) => COMPONENT.test(p))) return bad("a repository has only lower-case letters, digits and single separators");
  const full = `${host}/${host === DEFAULT_REGISTRY && path.length === 1 ? "library/" : ""}${path.join("/")}`;
  if (full.length > NAME_MAX) return bad(`longer than ${NAME_MAX} characters`);
  return { name: digest !== undefined ? `${full}@${digest}` : `${full}:${tag ?? "latest"}` };
}
