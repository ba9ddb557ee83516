// Owns the two ways to write redirection into a pod, nft and iptables-nft, as shell scripts with one shape.
import { program, renderIptables, renderIptablesCleanup, renderIptablesDrain, renderIptablesInspection, versions, type IpVersion } from "./iptables.ts";
import { renderDrainRules, renderInspection, renderPodCleanup, renderPodRules, type PodRules } from "./inpod.ts";

/** Every member gives lines for `sh -e`. `seen` is what `look` printed in that namespace; no `look`, nothing seen. */
export interface Backend {
  readonly name: "nft" | "iptables";
  readonly look: string;
  write(rules: PodRules, seen: string): string;
  drain(rules: PodRules, seen: string): string;
  /** Whatever is there of ours, by whichever settings it was written; nothing to do gives nothing. */
  clear(seen: string): string;
  /** Prints what `write` set, in the same words always; fails where part of it is missing. */
  inspect(rules: PodRules): string;
}

const fed = (command: string, text: string): string => `${command} <<'END'\n${text}${text.endsWith("\n") ? "" : "\n"}END`;

export const NFT: Backend = {
  name: "nft",
  look: "",
  write: (rules) => fed("nft -f -", renderPodRules(rules)),
  drain: () => fed("nft -f -", renderDrainRules()),
  clear: () => fed("nft -f -", renderPodCleanup()),
  inspect: renderInspection,
};

const SIXTH = "# version 6";
/** Part of `look` that is about this version. */
const seenOf = (v: IpVersion, seen: string): string => seen.split(`${SIXTH}\n`)[v === 4 ? 0 : 1] ?? "";
const restored = (list: readonly IpVersion[], render: (v: IpVersion) => string): string =>
  list.flatMap((v) => { const text = render(v); return text === "" ? [] : [fed(`${program(v, "restore")} --noflush`, text)]; }).join("\n");

export const IPTABLES: Backend = {
  name: "iptables",
  look: `${program(4, "save")}\necho '${SIXTH}'\n${program(6, "save")}`,
  write: (rules, seen) => restored(versions(rules), (v) => renderIptables(rules, v, seenOf(v, seen))),
  drain: (rules, seen) => restored(versions(rules), (v) => renderIptablesDrain(rules, v, seenOf(v, seen))),
  clear: (seen) => restored([4, 6], (v) => renderIptablesCleanup(seenOf(v, seen))),
  inspect: renderIptablesInspection,
};
