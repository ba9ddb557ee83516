// Owns what is recorded of one request while it goes by: the exchange is its own record, so that nothing is copied at its end.
import type { Backend } from "@ambit/core";
import type { Fields } from "@ambit/http";
import type { RequestFacts } from "../facts.ts";
import type { OutgoingHead, ResponseFlag } from "../plan/request-plan.ts";
import type { Forward } from "./forward.ts";
import { GrpcMessages } from "./grpc-messages.ts";
import type { FinalPlan, RequestRecord, UpstreamEndpoint } from "./options.ts";
import type { IncomingRequest } from "./request.ts";

const NO_FIELDS: Fields = [];
const NO_FLAGS: readonly ResponseFlag[] = [];
const NO_MIRRORS: readonly Backend[] = [];

export class ExchangeRecord implements RequestRecord {
  readonly incoming: IncomingRequest;
  facts: RequestFacts;
  plan: FinalPlan | undefined = undefined;
  upgraded = false;
  flags: readonly ResponseFlag[] = NO_FLAGS;
  details = "";
  status = 0;
  grpcStatus: number | undefined = undefined;
  bytesReceived = 0;
  bytesSent = 0;
  durationMs = 0;
  requestEndMs: number | undefined = undefined;
  responseStartMs: number | undefined = undefined;
  responseFields: Fields = NO_FIELDS;
  responseTrailers: Fields = NO_FIELDS;
  /** undefined: it was answered here. */
  protected forward: Forward | undefined = undefined;
  /** undefined: it is not gRPC. */
  protected readonly messagesIn: GrpcMessages | undefined;
  protected readonly messagesOut: GrpcMessages | undefined;

  constructor(request: IncomingRequest) {
    this.incoming = request;
    this.facts = request.facts;
    const { grpc } = request.facts;
    this.messagesIn = grpc ? new GrpcMessages() : undefined;
    this.messagesOut = grpc ? new GrpcMessages() : undefined;
  }

  get requestId(): string { return this.incoming.seen.requestId; }
  get startedAt(): number { return this.incoming.facts.now; }
  get requestMessages(): number { return this.messagesIn === undefined ? 0 : this.messagesIn.count; }
  get responseMessages(): number { return this.messagesOut === undefined ? 0 : this.messagesOut.count; }
  get upstreamStartMs(): number | undefined { return this.forward?.startedMs; }
  get endpoint(): UpstreamEndpoint | undefined { return this.forward?.endpoint; }
  get attempts(): number { return this.forward === undefined ? 0 : this.forward.attempts; }
  get outgoing(): OutgoingHead | undefined { return this.forward?.outgoing; }
  get upstreamFailure(): string | undefined { return this.forward?.failureText; }
  get mirrors(): readonly Backend[] { return this.forward?.mirrored ?? NO_MIRRORS; }

  flag(flag: ResponseFlag): void {
    this.flags = this.flags.length === 0 ? [flag] : [...this.flags, flag];
  }
}
