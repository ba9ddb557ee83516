// Owns the meaning of the peer's frames (RFC 9113 §5, §6, §8): what each does to streams, and which rules it breaks.
import { HpackDecoder } from "../hpack/decoder.ts";
import { Budget } from "./budget.ts";
import { ConnectionError, ErrorCode } from "./error-code.ts";
import type { ConnectionEvents } from "./events.ts";
import { Flag, FrameType, readUint32, STREAM_ID_MAX, WINDOW_MAX } from "./frame.ts";
import type { FrameSink } from "./frame-reader.ts";
import { CONTROL_BURST, CONTROL_PER_SECOND, RESET_BURST, RESET_PER_SECOND, type Limits } from "./limits.ts";
import { requestHead, responseHead, trailersProblem } from "./message.ts";
import type { Sender } from "./sender.ts";
import { SETTING_OCTETS } from "./settings.ts";
import type { StreamTable } from "./stream-table.ts";
import type { H2Stream } from "./stream.ts";

/** Responses that never have a body, whatever their content-length says (RFC 9110 §6.4.1). */
const BODILESS = new Set([204, 304]);
/** The PING between the two GOAWAYs of a graceful end (§6.8). */
export const DRAIN_PING: Uint8Array = Uint8Array.from([0x61, 0x6d, 0x62, 0x69, 0x74, 0x3a, 0x2d, 0x29]);

export class Receiver<C> implements FrameSink {
  /** Monotonic milliseconds of the octets being read. */
  now = 0;
  /** The peer sent GOAWAY. */
  goneAway = false;
  /** The peer's first SETTINGS have come. */
  settingsSeen = false;
  /** Draining: our second GOAWAY named the last stream; later ones are refused. */
  lastNamed = false;
  /** Highest stream the peer opened. */
  lastPeerId = 0;
  /** Client: the id that our next stream gets. */
  nextId = 1;
  readonly #client: boolean;
  readonly #limits: Limits;
  readonly #events: ConnectionEvents<C>;
  readonly #sender: Sender<C>;
  readonly #table: StreamTable<C>;
  readonly #decoder: HpackDecoder;
  readonly #control = new Budget(CONTROL_BURST, CONTROL_PER_SECOND);
  readonly #resets = new Budget(RESET_BURST, RESET_PER_SECOND);
  #settingsUnacked = 1;
  /** The DATA frame being read belongs to this stream; `undefined`: to none that wants it. */
  #current: H2Stream<C> | undefined;

  constructor(client: boolean, limits: Limits, events: ConnectionEvents<C>, sender: Sender<C>, table: StreamTable<C>) {
    this.#client = client;
    this.#limits = limits;
    this.#events = events;
    this.#sender = sender;
    this.#table = table;
    this.#decoder = new HpackDecoder({ tableSize: limits.headerTableSize, blockMax: limits.maxHeaderListSize });
  }

  dataBegins(id: number, length: number, endStream: boolean): void {
    this.#table.charge(length);
    this.#current = undefined;
    if (length === 0 && !endStream) this.#spendControl();
    const stream = this.#table.open.get(id);
    if (stream === undefined) return this.#strayData(id);
    if (stream.remoteEnded) return this.#breach(stream, ErrorCode.STREAM_CLOSED);
    if (this.#client && !stream.answered) return this.#breach(stream, ErrorCode.PROTOCOL_ERROR);
    if (length > stream.receiveWindow) return this.#breach(stream, ErrorCode.FLOW_CONTROL_ERROR);
    stream.receiveWindow -= length;
    this.#current = stream;
  }

  data(bytes: Uint8Array): void {
    const stream = this.#current;
    if (stream === undefined || stream.closed) return this.#table.credit(bytes.length);
    stream.unconsumed += bytes.length;
    if (stream.promised >= 0) {
      stream.promised -= bytes.length;
      if (stream.promised < 0) return this.#breach(stream, ErrorCode.PROTOCOL_ERROR);
    }
    this.#events.onData(stream, bytes);
  }

  padding(octets: number): void {
    const stream = this.#current;
    if (stream === undefined || stream.closed) return this.#table.credit(octets);
    stream.unconsumed += octets;
    this.#table.consumed(stream, octets);
  }

  dataEnds(endStream: boolean): void {
    const stream = this.#current;
    this.#current = undefined;
    if (endStream && stream !== undefined && !stream.closed) this.#endRemote(stream);
  }

  headers(id: number, endStream: boolean, bytes: Uint8Array, from: number, to: number): void {
    const fields = this.#decoder.decode(bytes, from, to); // before anything else: it keeps the table right
    const stream = this.#table.open.get(id);
    if (stream === undefined) return this.#client ? this.#strayHeaders(id) : this.#newRequest(id, fields, endStream);
    if (stream.remoteEnded) return this.#breach(stream, ErrorCode.STREAM_CLOSED);
    if (fields === undefined) return this.#breach(stream, ErrorCode.ENHANCE_YOUR_CALM);
    if (this.#client && !stream.answered) return this.#response(stream, fields, endStream);
    if (!endStream || stream.connect || trailersProblem(fields, this.#decoder.clean) !== undefined) return this.#breach(stream, ErrorCode.PROTOCOL_ERROR);
    this.#events.onTrailers?.(stream, fields);
    if (!stream.closed) this.#endRemote(stream);
  }

  control(type: number, flags: number, id: number, bytes: Uint8Array, from: number, to: number): void {
    switch (type) {
      case FrameType.SETTINGS:
        return this.#settings((flags & Flag.ACK) !== 0, id, bytes, from, to);
      case FrameType.PING:
        return this.#ping((flags & Flag.ACK) !== 0, id, bytes.subarray(from, to));
      case FrameType.WINDOW_UPDATE:
        return this.#windowUpdate(id, readUint32(bytes, from) & WINDOW_MAX);
      case FrameType.RST_STREAM:
        return this.#peerReset(id, readUint32(bytes, from));
      case FrameType.GOAWAY:
        return this.#goaway(id, bytes, from, to);
      case FrameType.PRIORITY:
        if (id === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0");
        return this.#spendControl();
      default:
        throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, though push is off");
    }
  }

  #newRequest(id: number, fields: string[] | undefined, endStream: boolean): void {
    if (id % 2 === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, `a client opened stream ${id}`);
    if (id <= this.lastPeerId) {
      if (this.#table.wasReset(id)) return;
      throw new ConnectionError(ErrorCode.STREAM_CLOSED, `HEADERS on closed stream ${id}`);
    }
    this.lastPeerId = id;
    if (this.lastNamed || this.#table.open.size >= this.#limits.maxConcurrentStreams) return this.#refuse(id, ErrorCode.REFUSED_STREAM);
    if (fields === undefined) return this.#refuse(id, ErrorCode.ENHANCE_YOUR_CALM);
    const head = requestHead(fields, this.#limits.extendedConnect, this.#decoder.clean);
    if (typeof head === "string") return this.#refuse(id, ErrorCode.PROTOCOL_ERROR);
    const stream = this.#table.add(id, head.method === "CONNECT", undefined);
    if (!stream.connect) stream.promised = head.contentLength;
    this.#events.onRequest?.(stream, fields, endStream);
    if (endStream && !stream.closed) this.#endRemote(stream);
  }

  #response(stream: H2Stream<C>, fields: string[], endStream: boolean): void {
    const head = responseHead(fields, this.#decoder.clean);
    if (typeof head === "string") return this.#breach(stream, ErrorCode.PROTOCOL_ERROR);
    const { status, contentLength } = head;
    if (status < 200) {
      if (endStream) return this.#breach(stream, ErrorCode.PROTOCOL_ERROR);
      this.#spendControl();
      return this.#events.onInformational?.(stream, status, fields);
    }
    stream.answered = true;
    if (!stream.connect && !stream.bodiless && !BODILESS.has(status)) stream.promised = contentLength;
    this.#events.onResponse?.(stream, status, fields, endStream);
    if (endStream && !stream.closed) this.#endRemote(stream);
  }

  #endRemote(stream: H2Stream<C>): void {
    if (stream.promised > 0) return this.#breach(stream, ErrorCode.PROTOCOL_ERROR);
    this.#table.endRemote(stream);
    this.#events.onEnd(stream);
  }

  #strayData(id: number): void {
    this.#mustNotBeIdle(id, "DATA");
    if (this.#table.wasReset(id)) return;
    this.#spendReset();
    this.#table.refuse(id, ErrorCode.STREAM_CLOSED);
  }

  #strayHeaders(id: number): void {
    if (id % 2 === 0 || id >= this.nextId) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, `a server opened stream ${id}`);
    if (!this.#table.wasReset(id)) throw new ConnectionError(ErrorCode.STREAM_CLOSED, `HEADERS on closed stream ${id}`);
  }

  #settings(ack: boolean, id: number, bytes: Uint8Array, from: number, to: number): void {
    if (id !== 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream");
    if (ack ? to > from : (to - from) % SETTING_OCTETS !== 0) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `SETTINGS of ${to - from} octets`);
    if (ack) {
      if (this.#settingsUnacked-- === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "SETTINGS acknowledged twice");
      return;
    }
    this.#spendControl();
    this.#sender.settings(bytes, from, to, this.#client, this.#table.open);
    this.settingsSeen = true;
    this.#events.onSettings?.(this.#sender.peer);
  }

  #ping(ack: boolean, id: number, payload: Uint8Array): void {
    if (id !== 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "PING on a stream");
    this.#spendControl();
    if (!ack) return this.#sender.ping(payload, true);
    if (!payload.every((octet, i) => octet === DRAIN_PING[i])) return this.#events.onPong?.();
    if (this.#client || this.lastNamed) return;
    this.lastNamed = true;
    this.#sender.goaway(this.lastPeerId, ErrorCode.NO_ERROR, "");
  }

  #windowUpdate(id: number, octets: number): void {
    if (id === 0) {
      if (octets === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
      return this.#sender.connectionCredit(octets);
    }
    const stream = this.#table.open.get(id);
    if (stream === undefined) return this.#mustNotBeIdle(id, "WINDOW_UPDATE");
    if (octets === 0) return this.#breach(stream, ErrorCode.PROTOCOL_ERROR);
    stream.sendWindow += octets;
    if (stream.sendWindow > WINDOW_MAX) return this.#breach(stream, ErrorCode.FLOW_CONTROL_ERROR);
    this.#sender.wakeOne(stream);
  }

  #peerReset(id: number, code: number): void {
    if (id === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on stream 0");
    const stream = this.#table.open.get(id);
    if (stream === undefined) return this.#mustNotBeIdle(id, "RST_STREAM");
    if (!this.#client && !stream.answered) this.#spendReset();
    this.#table.close(stream);
    this.#events.onReset(stream, code, code !== ErrorCode.REFUSED_STREAM);
  }

  #goaway(id: number, bytes: Uint8Array, from: number, to: number): void {
    if (id !== 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream");
    if (to - from < 8) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY too short");
    this.#spendControl();
    this.goneAway = true;
    const last = readUint32(bytes, from) & STREAM_ID_MAX;
    const code = readUint32(bytes, from + 4);
    if (this.#client) {
      for (const stream of [...this.#table.open]) {
        if (stream.id <= last) continue;
        this.#table.close(stream);
        this.#events.onReset(stream, ErrorCode.REFUSED_STREAM, false);
      }
    }
    this.#events.onGoaway?.(last, code, printable(bytes.subarray(from + 8, to)));
  }

  /** The peer broke a rule on one stream: it is reset, the connection goes on. */
  #breach(stream: H2Stream<C>, code: number): void {
    this.#spendReset();
    this.#table.reset(stream, code);
    this.#events.onReset(stream, code, true);
  }

  #refuse(id: number, code: number): void {
    this.#spendReset();
    this.#table.refuse(id, code);
  }

  #mustNotBeIdle(id: number, what: string): void {
    const ours = (id % 2 === 1) === this.#client;
    if (id === 0 || id >= (ours ? this.nextId : this.lastPeerId + 1)) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, `${what} on idle stream ${id}`);
  }

  #spendControl(): void {
    if (!this.#control.take(this.now)) throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many control frames");
  }

  #spendReset(): void {
    if (!this.#resets.take(this.now)) throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many streams cancelled or refused");
  }
}

const DEBUG_MAX = 200;
const printable = (bytes: Uint8Array): string => Array.from(bytes.subarray(0, DEBUG_MAX), (c) => (c >= 0x20 && c < 0x7f ? String.fromCharCode(c) : "?")).join("");
