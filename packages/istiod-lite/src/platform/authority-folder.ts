// Owns an authority that lives in a folder: the files of Istio's cacerts, or a self-signed root made there once.
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describeProblems } from "@ambit/core";
import type { Clock, Logger } from "@ambit/runtime";
import type { AuthoritySource, StoredRoots } from "../ca/keeper.ts";
import { createSelfSigned, loadAuthority, type Authority } from "../ca/authority.ts";

const FILES = ["tls.crt", "tls.key", "ca.crt", "ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem", "ca-crl.pem"];
/** Whoever was faster writes the certificate right after the key. */
const OTHER_WAIT_MS = 100;
const OTHER_WAITS_MAX = 50;

/** Rejects when what is there cannot sign: replacing it would break every certificate. */
export async function authorityInFolder(o: { folder: string; trustDomain: string; clock: Clock; log: Logger }): Promise<Authority> {
  const { folder, clock } = o;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (let waited = 0; ; waited++) {
    const data = await readAll(folder);
    if (Object.keys(data).length === 0 && (await make(o))) continue;
    const halfMade = data["ca-key.pem"] !== undefined && data["ca-cert.pem"] === undefined && data["tls.crt"] === undefined;
    if (halfMade && waited < OTHER_WAITS_MAX) {
      await clock.sleep(OTHER_WAIT_MS);
      continue;
    }
    const loaded = loadAuthority(data, clock.now());
    if (!loaded.ok) throw new Error(`${folder} is not a usable authority: ${describeProblems(loaded.error)}`);
    return loaded.value;
  }
}

/** The folder is read again like any other source. What is known of roots is kept in memory: a start while one is rolled knows only the files. */
export function authorityOfFolder(o: { folder: string; trustDomain: string; clock: Clock; log: Logger; check: () => Promise<void> }): AuthoritySource {
  let roots: StoredRoots = new Map();
  let checked = false;
  return {
    load: async () => {
      if (!checked) await o.check();
      const desired = await authorityInFolder(o);
      if (!checked) o.log.info("authority loaded", { folder: o.folder, not_after: new Date(desired.notAfter).toISOString() });
      checked = true;
      return { desired };
    },
    loadRoots: async () => roots,
    changeRoots: async (change) => (roots = change(roots)),
  };
}

async function readAll(folder: string): Promise<Record<string, string>> {
  const out: Record<string, string> = {};
  for (const name of FILES) {
    try {
      out[name] = await readFile(join(folder, name), "utf8");
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
    }
  }
  return out;
}

/** The key goes first and decides: two processes that start together have one root. */
async function make(o: { folder: string; trustDomain: string; clock: Clock; log: Logger }): Promise<boolean> {
  const made = await createSelfSigned(o.trustDomain, o.clock.now());
  const secret = made.toSecret();
  try {
    await writeFile(join(o.folder, "ca-key.pem"), secret["ca-key.pem"] ?? "", { flag: "wx", mode: 0o600 });
  } catch (error) {
    if (hasCode(error, "EEXIST")) return true;
    throw error;
  }
  // For proxies to trust: they may read the root, and nothing else here.
  await writeFile(join(o.folder, "root-cert.pem"), made.rootsPem, { mode: 0o644 });
  await writeFile(join(o.folder, "ca-cert.pem"), secret["ca-cert.pem"] ?? "", { mode: 0o644 });
  await chmod(o.folder, 0o711);
  o.log.info("made a self-signed root", { folder: o.folder });
  return true;
}

const hasCode = (error: unknown, code: string): boolean => error instanceof Error && "code" in error && error.code === code;
