// Owns SETTINGS (RFC 9113 §6.5): parameters, their bounds, reading and writing them.
import { ConnectionError, ErrorCode } from "./error-code.ts";
import { FRAME_SIZE_MAX, FRAME_SIZE_MIN, readUint32, WINDOW_DEFAULT, WINDOW_MAX } from "./frame.ts";

export interface PeerSettings {
  headerTableSize: number;
  /** `undefined`: not said. */
  maxConcurrentStreams: number | undefined;
  initialWindowSize: number;
  maxFrameSize: number;
  maxHeaderListSize: number | undefined;
  extendedConnect: boolean;
}

export const defaultPeerSettings = (): PeerSettings => ({ headerTableSize: 4096, maxConcurrentStreams: undefined, initialWindowSize: WINDOW_DEFAULT,
  maxFrameSize: FRAME_SIZE_MIN, maxHeaderListSize: undefined, extendedConnect: false });

export const SettingId = { HEADER_TABLE_SIZE: 1, ENABLE_PUSH: 2, MAX_CONCURRENT_STREAMS: 3, INITIAL_WINDOW_SIZE: 4, MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6, ENABLE_CONNECT_PROTOCOL: 8 } as const;

export const SETTING_OCTETS = 6;

/** Applies one SETTINGS payload (its length already a multiple of six). Unknown parameters are ignored as §6.5.2 demands. */
export function applySettings(settings: PeerSettings, payload: Uint8Array, from: number, to: number, peerIsServer: boolean): void {
  for (let at = from; at + SETTING_OCTETS <= to; at += SETTING_OCTETS) {
    const id = ((payload[at] ?? 0) << 8) | (payload[at + 1] ?? 0);
    const value = readUint32(payload, at + 2);
    switch (id) {
      case SettingId.HEADER_TABLE_SIZE:
        settings.headerTableSize = value;
        break;
      case SettingId.ENABLE_PUSH:
        if (value > 1 || (peerIsServer && value === 1)) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, `SETTINGS_ENABLE_PUSH is ${value}`);
        break;
      case SettingId.MAX_CONCURRENT_STREAMS:
        settings.maxConcurrentStreams = value;
        break;
      case SettingId.INITIAL_WINDOW_SIZE:
        if (value > WINDOW_MAX) throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, `SETTINGS_INITIAL_WINDOW_SIZE is ${value}`);
        settings.initialWindowSize = value;
        break;
      case SettingId.MAX_FRAME_SIZE:
        if (value < FRAME_SIZE_MIN || value > FRAME_SIZE_MAX) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, `SETTINGS_MAX_FRAME_SIZE is ${value}`);
        settings.maxFrameSize = value;
        break;
      case SettingId.MAX_HEADER_LIST_SIZE:
        settings.maxHeaderListSize = value;
        break;
      case SettingId.ENABLE_CONNECT_PROTOCOL:
        if (value > 1) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, `SETTINGS_ENABLE_CONNECT_PROTOCOL is ${value}`);
        settings.extendedConnect = value === 1;
        break;
      default:
        break;
    }
  }
}
