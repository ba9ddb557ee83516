// Owns pods' network namespaces: made empty, pinned by a mount under the node's /run/netns, removed with it.
import { closeSync, existsSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runCommand, tryCommand } from "./command.ts";

/** `inNode` is the path CNI plugins and node agents see, `path` is ours. */
export interface PodNetns { readonly path: string; readonly inNode: string }

export const netnsOf = (root: string, sandboxId: string): PodNetns => {
  const name = `cni-${sandboxId}`;
  return { path: join(root, "run/netns", name), inNode: `/var/run/netns/${name}` };
};

export async function createNetns(ns: PodNetns): Promise<void> {
  closeSync(openSync(ns.path, "w", 0o444));
  await runCommand(["unshare", `--net=${ns.path}`, "ip", "link", "set", "lo", "up"]);
}

/** Never throws for one that is not there. */
export async function removeNetns(ns: PodNetns): Promise<void> {
  if (!existsSync(ns.path)) return;
  // Lazy: another process may still have it open; the name must be gone now.
  await tryCommand(["umount", "-l", ns.path]);
  rmSync(ns.path, { force: true });
}
