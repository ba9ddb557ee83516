// Owns a recorded conversation between a node agent and the real ztunnel (ZDS), for tests of either end.
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface ZdsTurn {
  readonly title: string;
  /** What the agent says; undefined: ztunnel begins. */
  readonly told: Buffer | undefined;
  /** Which of two network namespaces travels along. */
  readonly netns: 1 | 2 | undefined;
  readonly answer: Buffer;
}

export function realZdsConversation(): readonly ZdsTurn[] {
  const text = readFileSync(join(import.meta.dirname, "../testdata/real-ztunnel.zds"), "utf8");
  const turns: ZdsTurn[] = [];
  let title = "";
  let told: ZdsTurn["told"];
  let netns: ZdsTurn["netns"];
  for (const line of text.split("\n")) {
    const [mark, bytes = "", more] = line.split(" ");
    if (mark === "#") title = line.slice(2);
    else if (mark === ">") {
      told = Buffer.from(bytes, "hex");
      netns = more === "+netns" ? 1 : more === "+netns2" ? 2 : undefined;
    } else if (mark === "<") {
      turns.push({ title, told, netns, answer: Buffer.from(bytes, "hex") });
      told = netns = undefined;
    }
  }
  return turns;
}
