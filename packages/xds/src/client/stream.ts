// Owns one delta xDS stream of the client: opens it, hands out messages, and says once how it ended.
import { connectivityState, status, type Client, type ClientDuplexStream, type ServiceError } from "@grpc/grpc-js";
import { errorText, type Clock } from "@ambit/runtime";
import type { DeltaRequest } from "../protocol/messages.ts";
import { deltaMethod } from "../wire/method.ts";
import type { ControlPlane } from "./control-plane.ts";

/** A connection that is not up by then is given up: a black hole must not cost minutes. */
export const CONNECT_TIMEOUT_MS = 5_000;

export interface StreamEnded {
  readonly code: number;
  readonly detail: string;
}

export interface OpenStream {
  send(request: DeltaRequest): void;
  /** Ends it at once; `ended` follows. */
  cancel(): void;
}

export interface StreamEvents {
  /** Throws to refuse the whole stream (bytes that are no response). */
  message(bytes: Uint8Array): void;
  ended(how: StreamEnded): void;
}

/** Resolves when requests can be written (the connection may still be under way); never rejects: failure is `ended`. */
export async function openStream(plane: ControlPlane, clock: Clock, events: StreamEvents): Promise<OpenStream> {
  let client: Client | undefined;
  let call: ClientDuplexStream<DeltaRequest, Uint8Array> | undefined;
  let over = false;
  const finish = (how: StreamEnded) => {
    if (over) return;
    over = true;
    timer?.cancel();
    client?.close();
    events.ended(how);
  };
  let timer: ReturnType<Clock["after"]> | undefined;
  try {
    const metadata = await plane.metadata();
    client = await plane.open();
    const m = deltaMethod;
    call = client.makeBidiStreamRequest(m.path, m.requestSerialize, m.responseDeserialize, metadata);
  } catch (error) {
    finish({ code: status.UNAVAILABLE, detail: errorText(error) });
    return { send: () => undefined, cancel: () => undefined };
  }
  const [stream, channel] = [call, client.getChannel()];
  timer = clock.after(CONNECT_TIMEOUT_MS, () => {
    if (channel.getConnectivityState(false) === connectivityState.READY) return;
    finish({ code: status.UNAVAILABLE, detail: `no connection to ${plane.address} within ${CONNECT_TIMEOUT_MS} ms` });
    stream.cancel();
  });
  stream.on("data", (bytes: Uint8Array) => {
    if (over) return;
    try {
      events.message(bytes);
    } catch (error) {
      finish({ code: status.INTERNAL, detail: `the server sent something that is no response: ${errorText(error)}` });
      stream.cancel();
    }
  });
  stream.on("error", (error: ServiceError) => finish({ code: error.code, detail: error.details }));
  stream.on("status", (s: { code: number; details: string }) => finish({ code: s.code, detail: s.details }));
  return {
    send: (request) => {
      if (!over) stream.write(request);
    },
    cancel: () => {
      finish({ code: status.CANCELLED, detail: "ended by us" });
      stream.cancel();
    },
  };
}
