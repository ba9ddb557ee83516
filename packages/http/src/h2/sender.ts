// Owns what we send: frames into the output, both send windows, the peer's settings, and the streams that wait for room.
import type { Fields } from "../hpack/decoder.ts";
import { HpackEncoder } from "../hpack/encoder.ts";
import { ConnectionError, ErrorCode } from "./error-code.ts";
import { Flag, FrameType, PREFACE, STREAM_ID_MAX, WINDOW_DEFAULT, WINDOW_MAX } from "./frame.ts";
import type { Limits } from "./limits.ts";
import { Output } from "../output.ts";
import { applySettings, defaultPeerSettings, SETTING_OCTETS, SettingId, type PeerSettings } from "./settings.ts";
import type { H2Stream } from "./stream.ts";

const EMPTY = new Uint8Array(0);

export class Sender<C> {
  readonly output = new Output();
  readonly peer: PeerSettings = defaultPeerSettings();
  readonly #limits: Limits;
  readonly #encoder = new HpackEncoder();
  readonly #onWritable: (stream: H2Stream<C>) => void;
  /** In the order in which they began to wait. */
  readonly #waiting = new Set<H2Stream<C>>();
  #window = WINDOW_DEFAULT;
  #held = false;

  constructor(limits: Limits, onWritable: (stream: H2Stream<C>) => void) {
    this.#limits = limits;
    this.#onWritable = onWritable;
  }

  preface(role: "client" | "server"): void {
    if (role === "client") this.output.copy(PREFACE);
    const l = this.#limits;
    const settings: [number, number][] = [[SettingId.INITIAL_WINDOW_SIZE, l.streamWindow], [SettingId.MAX_FRAME_SIZE, l.maxFrameSize],
      [SettingId.MAX_HEADER_LIST_SIZE, l.maxHeaderListSize], [SettingId.HEADER_TABLE_SIZE, l.headerTableSize],
      role === "client" ? [SettingId.ENABLE_PUSH, 0] : [SettingId.MAX_CONCURRENT_STREAMS, l.maxConcurrentStreams]];
    if (role === "server" && l.extendedConnect) settings.push([SettingId.ENABLE_CONNECT_PROTOCOL, 1]);
    this.output.header(settings.length * SETTING_OCTETS, FrameType.SETTINGS, 0, 0);
    for (const [id, value] of settings) {
      this.output.uint16(id);
      this.output.uint32(value);
    }
    if (l.connectionWindow > WINDOW_DEFAULT) this.windowUpdate(0, l.connectionWindow - WINDOW_DEFAULT);
  }

  /** `more` and `last`: behind `fields`. */
  headers(id: number, fields: Fields, endStream: boolean, more?: Fields, last?: Fields): void {
    const octets = this.#encoder.write(fields, more, last);
    const { block } = this.#encoder;
    const size = this.peer.maxFrameSize;
    let at = Math.min(size, octets);
    this.output.header(at, FrameType.HEADERS, (endStream ? Flag.END_STREAM : 0) | (at === octets ? Flag.END_HEADERS : 0), id);
    this.output.copy(block, 0, at);
    while (at < octets) {
      const n = Math.min(size, octets - at);
      this.output.header(n, FrameType.CONTINUATION, at + n === octets ? Flag.END_HEADERS : 0, id);
      this.output.copy(block, at, at + n);
      at += n;
    }
  }

  /** Returns how many octets were taken; when fewer than given, `onWritable` follows. END_STREAM goes out only with the last octet. */
  data(stream: H2Stream<C>, bytes: Uint8Array, endStream: boolean): number {
    const room = this.#held ? 0 : this.#limits.outputMax - this.output.octets;
    const take = Math.max(0, Math.min(bytes.length, stream.sendWindow, this.#window, room));
    for (let at = 0; at < take; ) {
      const n = Math.min(this.peer.maxFrameSize, take - at);
      const last = endStream && at + n === bytes.length;
      this.output.header(n, FrameType.DATA, last ? Flag.END_STREAM : 0, stream.id);
      this.output.payload(n === bytes.length ? bytes : bytes.subarray(at, at + n));
      at += n;
    }
    stream.sendWindow -= take;
    this.#window -= take;
    if (take < bytes.length) this.#waiting.add(stream);
    else if (endStream && bytes.length === 0) this.output.header(0, FrameType.DATA, Flag.END_STREAM, stream.id);
    return take;
  }

  reset(id: number, code: number): void {
    this.output.header(4, FrameType.RST_STREAM, 0, id);
    this.output.uint32(code);
  }

  windowUpdate(id: number, octets: number): void {
    this.output.header(4, FrameType.WINDOW_UPDATE, 0, id);
    this.output.uint32(octets);
  }

  /** `payload` is eight octets. */
  ping(payload: Uint8Array, ack: boolean): void {
    this.output.header(8, FrameType.PING, ack ? Flag.ACK : 0, 0);
    this.output.copy(payload);
  }

  goaway(lastStreamId: number, code: number, debug: string): void {
    const text = Uint8Array.from(debug.slice(0, 200), (c) => c.charCodeAt(0) & 0x7f);
    this.output.header(8 + text.length, FrameType.GOAWAY, 0, 0);
    this.output.uint32(lastStreamId & STREAM_ID_MAX);
    this.output.uint32(code);
    this.output.copy(text);
  }

  /** The peer's SETTINGS: applied and acknowledged. Throws ConnectionError. */
  settings(payload: Uint8Array, from: number, to: number, peerIsServer: boolean, streams: Iterable<H2Stream<C>>): void {
    const before = this.peer.initialWindowSize;
    applySettings(this.peer, payload, from, to, peerIsServer);
    this.#encoder.resize(this.peer.headerTableSize);
    this.output.header(0, FrameType.SETTINGS, Flag.ACK, 0);
    const change = this.peer.initialWindowSize - before;
    if (change === 0) return;
    for (const stream of streams) {
      stream.sendWindow += change;
      if (stream.sendWindow > WINDOW_MAX) throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE overflows a stream's window");
    }
    if (change > 0) this.wake();
  }

  /** The peer gave credit for the connection. Throws ConnectionError. */
  connectionCredit(octets: number): void {
    this.#window += octets;
    if (this.#window > WINDOW_MAX) throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE overflows the connection's window");
    this.wake();
  }

  /** The shell's socket takes no more (`true`), or does again. */
  hold(held: boolean): void {
    this.#held = held;
    if (!held) this.wake();
  }

  forget(stream: H2Stream<C>): void {
    if (this.#waiting.size > 0) this.#waiting.delete(stream);
  }

  /** Tells waiting streams, oldest first, that they may try again, as long as there is room. */
  wake(): void {
    // A stream that is told and finds too little room joins the end of the set and is met again: turns are taken until windows or output are full.
    for (const stream of this.#waiting) {
      if (this.#held || this.#window <= 0 || this.output.octets >= this.#limits.outputMax) return;
      if (stream.sendWindow <= 0) continue;
      this.#waiting.delete(stream);
      this.#onWritable(stream);
    }
  }

  wakeOne(stream: H2Stream<C>): void {
    if (this.#held || this.#window <= 0 || stream.sendWindow <= 0 || this.output.octets >= this.#limits.outputMax) return;
    if (this.#waiting.delete(stream)) this.#onWritable(stream);
  }

  /** Ends a half without data. */
  end(stream: H2Stream<C>): void {
    this.data(stream, EMPTY, true);
  }
}
