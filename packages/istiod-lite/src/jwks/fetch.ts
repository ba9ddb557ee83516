// Owns one download of a document from an issuer: bounded in time, size and hops, and only from addresses that the guard lets pass.
import { lookup } from "node:dns/promises";
import { request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import { familyOf, parseIp } from "@ambit/core";
import type { AddressGuard } from "./guard.ts";

/** Key sets have a few kilobytes; a tenth of a megabyte of keys would be slow to try, too. */
const BODY_MAX_BYTES = 128 * 1024;
/** Issuers move once (http to https, a new path); more is a loop. */
const REDIRECTS_MAX = 3;

/** The body of a 200. Rejects with what went wrong, in words for a condition. */
export async function fetchDocument(uri: string, o: { guard: AddressGuard; signal: AbortSignal }): Promise<string> {
  let url = new URL(uri);
  for (let hop = 0; hop <= REDIRECTS_MAX; hop++) {
    const response = await get(url, o);
    const status = response.statusCode ?? 0;
    const { location } = response.headers;
    if (status >= 300 && status < 400 && location !== undefined) {
      response.destroy();
      const next = new URL(location, url);
      if (next.protocol !== "https:" && (next.protocol !== "http:" || url.protocol === "https:")) throw new Error(`${url.host} redirects to ${next.protocol}, which is not followed`);
      url = next;
      continue;
    }
    if (status !== 200) {
      response.destroy();
      throw new Error(`${url.host} answered ${status}`);
    }
    return await read(response, url.host);
  }
  throw new Error(`more than ${REDIRECTS_MAX} redirects`);
}

/** The address is looked up once, judged, and connected to: a name cannot change its mind in between. */
async function get(url: URL, o: { guard: AddressGuard; signal: AbortSignal }): Promise<IncomingMessage> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const literal = parseIp(host);
  const addresses = literal.ok ? [{ address: literal.value, family: familyOf(literal.value) }] : await within(o.signal, lookup(host, { all: true, verbatim: true }));
  const first = addresses[0];
  if (first === undefined) throw new Error(`${host} has no address`);
  // One bad address among several is reason enough: which of them is used would be chance.
  for (const { address } of addresses) {
    const refused = o.guard.refuse(address);
    if (refused !== undefined) throw new Error(`${host}: ${refused}`);
  }
  const options: RequestOptions & { servername?: string } = {
    host: first.address, family: first.family, port: url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port), path: `${url.pathname}${url.search}`, method: "GET",
    headers: { host: url.host, accept: "application/json", "user-agent": "ambit-istiod" }, signal: o.signal, agent: false,
    ...(literal.ok ? {} : { servername: host }),
  };
  return await new Promise((resolve, reject) => {
    const sent = (url.protocol === "https:" ? httpsRequest : httpRequest)(options, resolve);
    sent.on("error", reject);
    sent.end();
  });
}

async function read(response: IncomingMessage, host: string): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_MAX_BYTES) {
      response.destroy();
      throw new Error(`${host} answered more than ${BODY_MAX_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** A look-up cannot be called back; its answer is not waited for any longer. */
const within = <T>(signal: AbortSignal, work: Promise<T>): Promise<T> => new Promise((resolve, reject) => {
  const give = (): void => reject(signal.reason instanceof Error ? signal.reason : new Error("took too long"));
  if (signal.aborted) return give();
  signal.addEventListener("abort", give, { once: true });
  work.then(resolve, reject).finally(() => signal.removeEventListener("abort", give));
});
