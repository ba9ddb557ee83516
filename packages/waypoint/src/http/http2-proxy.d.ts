// The two hooks of http2-proxy that its guard uses (the package has no types).
declare module "http2-proxy" {
  import type { IncomingMessage, RequestOptions, ServerResponse } from "node:http";
  import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
  type Request = IncomingMessage | Http2ServerRequest;
  type Response = ServerResponse | Http2ServerResponse;
  export interface Options {
    readonly hostname: string;
    readonly port: number;
    readonly onReq: (request: Request, options: RequestOptions & { headers: Record<string, string | string[] | undefined> }) => void;
    readonly onRes: (request: Request, response: Response, answer: IncomingMessage) => void;
  }
  const proxy: { web(request: Request, response: Response, options: Options, done: (error: (Error & { statusCode?: number }) | null | undefined) => void): void };
  export default proxy;
}
