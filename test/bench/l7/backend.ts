// The server behind both proxies: HTTP/1.1 in plain TCP, gRPC in plain TCP, and HTTP/1.1 inside tunnels. One kibibyte for every request.
import { createServer } from "node:net";
import { serveTunnels } from "@ambit/hbone";
import { identityOfLeaf } from "@ambit/proxy/identity";
import { acceptTls, createTlsCredentials, fromSocket, type ByteStream } from "@ambit/transport";
import { parseIp } from "@ambit/core";
import { H2 } from "./h2.ts";
import { ANSWER, AT, BODY_OCTETS, grpcMessage, type BackendPorts, type BackendSetup } from "./messages.ts";

const END = Buffer.from("\r\n\r\n");

function answerH1(stream: ByteStream): void {
  let matched = 0; // octets of END seen so far: a head may come in pieces
  stream.attach({
    onData(bytes) {
      for (let at = 0; at < bytes.length; ) {
        if (matched === 0) {
          at = bytes.indexOf(13, at);
          if (at < 0) break;
        }
        matched = bytes[at] === END[matched] ? matched + 1 : bytes[at] === 13 ? 1 : 0;
        at++;
        if (matched === END.length) {
          matched = 0;
          stream.write(ANSWER);
        }
      }
    },
    onEnd: () => stream.end(), onDrain: () => undefined, onClose: () => undefined,
  });
}

const MESSAGE = grpcMessage(BODY_OCTETS);
function answerGrpc(stream: ByteStream): void {
  const shell: H2<object> = new H2<object>("server", stream, {
    onRequest: (s) => shell.h2.respond(s, [":status", "200", "content-type", "application/grpc"], false),
    onData: (s, bytes) => shell.took(s, bytes.length),
    onEnd: (s) => {
      // Windows are far larger than what is under way, so all of it is taken.
      if (shell.h2.data(s, MESSAGE, false) < MESSAGE.length) throw new Error("the peer's window is smaller than a message");
      shell.h2.trailers(s, ["grpc-status", "0"]);
    },
  }, () => undefined);
}

function listen(host: string, port: number, serve: (stream: ByteStream) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => serve(fromSocket(socket)));
  return new Promise((resolve) => server.listen(port, host, 4_096, () => resolve((server.address() as { port: number }).port)));
}

process.once("message", (setup: BackendSetup) => void start(setup));
process.once("disconnect", () => process.exit());

async function start({ own }: BackendSetup): Promise<void> {
  const credentials = createTlsCredentials(own);
  const ip = parseIp(AT.tunnel);
  if (!ip.ok) throw new Error(ip.error);
  const end = { ip: ip.value, port: AT.tunnelPort };
  const tunnels = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void acceptTls(socket, { credentials, verify: identityOfLeaf }).then(({ stream, peer }) =>
    serveTunnels(stream, { identity: peer, certificateFingerprint: "", remote: end, local: end }, { limits: { maxConcurrentStreams: 1_000 } }, (request) => answerH1(request.accept())), () => undefined));
  await new Promise<void>((resolve) => tunnels.listen(AT.tunnelPort, AT.tunnel, 4_096, resolve));
  const ports: BackendPorts = { h1: await listen(AT.plain, 0, answerH1), grpc: await listen(AT.plain, 0, answerGrpc) };
  process.send?.(ports);
}
