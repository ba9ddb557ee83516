// Owns following the JSON lines a pod logs, through the API server, and waiting for one that proves something.
import { KINDS, pathOf, type KubeClient } from "@ambit/kube";
import { systemClock } from "@ambit/runtime";

export type Line = Readonly<Record<string, unknown>>;

/** A tour is minutes; older lines prove nothing. */
const LINES_MAX = 50_000;

export class PodLog {
  readonly lines: Line[] = [];
  readonly name: string;
  readonly #stop = new AbortController();
  #listeners = new Set<(line: Line) => void>();

  constructor(client: KubeClient, namespace: string, pod: string, container: string) {
    this.name = `${namespace}/${pod}`;
    void this.#follow(client, namespace, pod, container).catch(() => undefined);
  }

  close(): void {
    this.#stop.abort();
  }

  /** Lines whose own time `t` (or `time`) is at or after `since` (epoch, milliseconds). */
  since(since: number): Line[] {
    return this.lines.filter((l) => timeOf(l) >= since);
  }

  /** The first line from `since` on that satisfies `test`; undefined after `limitMs`. */
  waitFor(test: (line: Line) => boolean, since: number, limitMs: number): Promise<Line | undefined> {
    const known = this.since(since).find(test);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve) => {
      const over = (line: Line | undefined) => {
        this.#listeners.delete(listener);
        timer.cancel();
        resolve(line);
      };
      const listener = (line: Line) => { if (timeOf(line) >= since && test(line)) over(line); };
      const timer = systemClock.after(limitMs, () => over(undefined), { hold: true });
      this.#listeners.add(listener);
    });
  }

  async #follow(client: KubeClient, namespace: string, pod: string, container: string): Promise<void> {
    const response = await client.open("GET", pathOf(KINDS.pods, namespace, pod, "log"), { query: { follow: true, container }, timeoutMs: 0, signal: this.#stop.signal, accept: "*/*" });
    response.setEncoding("utf8");
    let rest = "";
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const text of lines) this.#add(text);
    }
  }

  #add(text: string): void {
    let line: Line;
    try {
      line = JSON.parse(text) as Line;
    } catch {
      return;
    }
    this.lines.push(line);
    if (this.lines.length > LINES_MAX) this.lines.shift();
    for (const listener of this.#listeners) listener(line);
  }
}

export function timeOf(line: Line): number {
  const { t, time } = line;
  return typeof t === "number" ? t : typeof time === "string" ? Date.parse(time) : 0;
}
