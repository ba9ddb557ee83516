// Owns the two tables between HTTP and gRPC statuses (gRPC over HTTP/2; Envoy's for counting).

/** What a gRPC client is told when we answer with an HTTP status. */
export function grpcStatusOf(httpStatus: number): number {
  switch (httpStatus) {
    case 400: return 13;
    case 401: return 16;
    case 403: return 7;
    case 404: return 12;
    case 429: case 502: case 503: case 504: return 14;
    default: return 2;
  }
}

const HTTP_OF_GRPC = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
/** What a gRPC status counts as in metrics and for outlier detection; an unknown one is 500. */
export const httpStatusOf = (grpcStatus: number): number => HTTP_OF_GRPC[grpcStatus] ?? 500;
