// Owns tokens in a file as proof of who calls: `token,namespace/serviceaccount[,pod]`, one a line, read anew when the file changes.
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import type { Reviewed } from "../ca/attest.ts";
import type { Review, ReviewToken } from "../ca/token-review.ts";

/** 32 characters of base64 are 192 bits; fewer characters can be guessed, or were chosen by a person. */
export const TOKEN_MIN_LENGTH = 32;
const FILE_MAX_BYTES = 1024 * 1024;
/** Anybody on the machine. */
const OTHERS = 0o007;
const NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

export type TokenTable = ReadonlyMap<string, Reviewed>;

/** Keys are digests: a look-up takes no longer for a better guess. Throws one Error naming every bad line, never a token. */
export function parseTokens(text: string, file: string): TokenTable {
  const out = new Map<string, Reviewed>();
  const problems: string[] = [];
  text.split("\n").forEach((raw, i) => {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) return;
    const refuse = (why: string): void => void problems.push(`${file}:${i + 1}: ${why}`);
    const [token = "", account = "", podName, ...more] = line.split(",").map((p) => p.trim());
    const [namespace = "", serviceAccount = "", ...rest] = account.split("/");
    if (more.length > 0) refuse("has more than token,namespace/serviceaccount,pod");
    else if (token.length < TOKEN_MIN_LENGTH) refuse(`has a token of fewer than ${TOKEN_MIN_LENGTH} characters`);
    else if (!NAME.test(namespace) || !NAME.test(serviceAccount) || rest.length > 0) refuse(`"${account}" is not namespace/serviceaccount`);
    else if (podName !== undefined && !NAME.test(podName)) refuse(`"${podName}" is not the name of a pod`);
    else if (out.has(digest(token))) refuse("has the token of another line");
    else out.set(digest(token), { namespace, serviceAccount, ...(podName === undefined ? {} : { podName }) });
  });
  if (problems.length > 0) throw new Error(problems.join("; "));
  return out;
}

/** `uidOf` a pod as the files have it: what a bound token would say. A file that is not understood vouches for nobody. */
export function reviewByFile(file: string, uidOf: (namespace: string, pod: string) => string): ReviewToken {
  let stamp = "";
  let table: TokenTable = new Map();
  return async (token): Promise<Review> => {
    const { mtimeMs, size, ino, mode } = await stat(file);
    if ((mode & OTHERS) !== 0) throw new Error(`${file} can be read or written by anybody (mode ${(mode & 0o777).toString(8)}): chmod 600`);
    if (size > FILE_MAX_BYTES) throw new Error(`${file} has more than ${FILE_MAX_BYTES} bytes`);
    const now = `${mtimeMs} ${size} ${ino}`;
    if (now !== stamp) {
      table = parseTokens(await readFile(file, "utf8"), file);
      stamp = now;
    }
    const found = table.get(digest(token));
    if (found === undefined) return { ok: false, error: "the token is not in the file of tokens", unavailable: false };
    return { ok: true, reviewed: found.podName === undefined ? found : { ...found, podUid: uidOf(found.namespace, found.podName) } };
  };
}

const digest = (token: string): string => createHash("sha256").update(token).digest("hex");
