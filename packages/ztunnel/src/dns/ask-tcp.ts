// Owns asking name servers over TCP: a connection of its own for each question, bounded in time.
import { formatSocketAddress, MeshError, type SocketAddress } from "@ambit/core";
import { errorText } from "@ambit/runtime";
import { TRY_NEXT, unanswered, type ForwarderOptions } from "./forward-options.ts";
import { answers, framed, rcodeOf, takeFrame } from "./protocol/relay.ts";

/** For all name servers together, connecting included; below the 5 s after which resolvers ask again. */
export const TCP_TOTAL_MS = 4_500;

export async function askTcp(o: ForwarderOptions, servers: readonly SocketAddress[], query: Uint8Array): Promise<Uint8Array> {
  const each = Math.floor(TCP_TOTAL_MS / servers.length);
  let last: unknown;
  let negative: Uint8Array | undefined;
  for (const server of servers) {
    try {
      const reply = await askTcpServer(o, server, query, each);
      if (!TRY_NEXT.has(rcodeOf(reply))) return reply;
      negative = reply;
    } catch (error) {
      if (o.over.aborted) throw error;
      last = error;
    }
  }
  if (negative !== undefined) return negative;
  throw unanswered(errorText(last), last);
}

async function askTcpServer(o: ForwarderOptions, server: SocketAddress, query: Uint8Array, limitMs: number): Promise<Uint8Array> {
  const late = new AbortController();
  const timer = o.clock.after(limitMs, () => late.abort(new MeshError("dns-failed", `${formatSocketAddress(server)} did not answer within ${limitMs} ms`)), { hold: true });
  const signal = AbortSignal.any([late.signal, o.over]);
  try {
    const socket = (await o.dial({ to: server, signal })).toSocket();
    const onAbort = (): void => void socket.destroy();
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("error", () => undefined); // the loop below hears of it too; once we have our answer it is no news
    try {
      socket.write(framed(query));
      let received = Buffer.alloc(0);
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        received = Buffer.concat([received, chunk]);
        const frame = takeFrame(received);
        if (frame === undefined) continue;
        if (!answers(query, frame.message)) throw new MeshError("dns-failed", `${formatSocketAddress(server)} answered another question`);
        return frame.message;
      }
      throw new MeshError("dns-failed", `${formatSocketAddress(server)} closed without an answer`);
    } finally {
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
    }
  } catch (error) {
    throw late.signal.aborted ? late.signal.reason : error;
  } finally {
    timer.cancel();
  }
}
