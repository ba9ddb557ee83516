// Owns another proxy to hold ours against: http2-proxy behind a guard. By itself it lets a GET's body smuggle, dies of a trailer named Connection, and ends a cut answer as if whole.
import http from "node:http";
import http2 from "node:http2";
import proxy from "http2-proxy";

const HOP_BY_HOP = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "trailer"]);
const BODILESS = new Set(["GET", "HEAD", "OPTIONS"]);

type Request = Parameters<typeof proxy.web>[0];
type Response = Parameters<typeof proxy.web>[1];

/** Forwards everything to a port of loopback, over HTTP/1.1. */
export function referenceProxy(protocol: "http1" | "http2", target: () => number): http.Server | http2.Http2Server {
  const agent = new http.Agent({ keepAlive: true });
  const serve = (request: Request, response: Response): void => {
    const bodiless = BODILESS.has(request.method ?? "");
    if (bodiless && ((request.headers["content-length"] ?? "0") !== "0" || request.headers["transfer-encoding"] !== undefined)) {
      response.statusCode = 400;
      response.end();
      return;
    }
    proxy.web(request, response, {
      hostname: "127.0.0.1", port: target(),
      onReq: (incoming, o) => {
        o.agent = agent;
        o.headers["host"] = String(incoming.headers[":authority"] ?? incoming.headers.host ?? "");
        delete o.headers["forwarded"];
        if (bodiless) delete o.headers["content-length"];
      },
      onRes: (_request, out, answer) => {
        const fields = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.has(name)));
        (out as http.ServerResponse).writeHead(answer.statusCode ?? 502, fields);
        answer.on("data", (piece: Buffer) => { if (!(out as http.ServerResponse).write(piece)) answer.pause(); });
        out.on("drain", () => void answer.resume());
        answer.on("end", () => {
          const trailers = Object.fromEntries(Object.entries(answer.trailers).filter(([name, value]) => value !== undefined && !HOP_BY_HOP.has(name) && name !== "content-length"));
          if (Object.keys(trailers).length > 0) (out as http.ServerResponse).addTrailers(trailers);
          out.end();
        });
      },
    }, (error) => {
      if (!error) return;
      if (!response.headersSent) { response.statusCode = error.statusCode ?? 502; response.end(); return; }
      if ("stream" in response) response.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
      else response.socket?.destroy();
    });
  };
  const server = protocol === "http1" ? http.createServer(serve) : http2.createServer(serve);
  server.on("close", () => agent.destroy());
  return server;
}
