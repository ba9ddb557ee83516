// Owns which key seals session cookies: the mesh's, that every replica has; this process's own while there is none.
import { createHash, randomBytes } from "node:crypto";
import { createSessionSeal } from "../auth/session-seal.ts";
import type { SessionSeal } from "../plan/session.ts";

/** `secret`: of the mesh at this moment; undefined (an older control plane): sessions do not survive a change of replica. */
export function sharedSeal(secret: () => string | undefined): SessionSeal {
  const own = randomBytes(32).toString("base64url");
  let made: { readonly from: string; readonly seal: SessionSeal } | undefined;
  const now = (): SessionSeal => {
    const from = secret() ?? own;
    if (made?.from !== from) made = { from, seal: createSessionSeal(createHash("sha256").update(from).digest()) };
    return made.seal;
  };
  return { seal: (text) => now().seal(text), open: (value) => now().open(value) };
}
