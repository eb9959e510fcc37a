import { type Bytes, fromUtf8 } from "../base/bytes.ts";
import { malformed } from "./protocol_error.ts";

/** Reads the fields of one packet in order; nothing is read beyond its end. */
export class PacketFields {
  /**
   * @param name Of the packet, for messages.
   * @param at Where the next field begins.
   */
  constructor(
    readonly name: string,
    readonly bytes: Bytes,
    public at: number,
    readonly end: number,
  ) {}

  /** Bytes that have not been read. */
  get left(): number {
    return this.end - this.at;
  }

  /** @throws {ProtocolError} malformed */
  byte(what: string): number {
    if (this.at >= this.end) throw this.cut(what);
    return this.bytes[this.at++]!;
  }

  /** @throws {ProtocolError} malformed */
  uint16(what: string): number {
    return this.byte(what) << 8 | this.byte(what);
  }

  /** @throws {ProtocolError} malformed */
  uint32(what: string): number {
    return this.uint16(what) * 65_536 + this.uint16(what);
  }

  /** A variable byte integer, in as few bytes as can be [MQTT5-1.5.5-1]. @throws {ProtocolError} malformed */
  varint(what: string): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte(what);
      value |= (byte & 0x7f) << shift;
      if (byte > 0x7f) continue;
      if (byte === 0 && shift > 0) break;
      return value;
    }
    throw malformed(`${this.name}: ${what} is no variable byte integer`);
  }

  /** @throws {ProtocolError} malformed */
  binary(what: string): Bytes {
    const length = this.uint16(what);
    if (length > this.left) throw this.cut(what);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /**
   * A text; `undefined` when it is not UTF-8 or holds NUL, which no text may [MQTT-1.5.3-1], [MQTT-1.5.3-2].
   *
   * @throws {ProtocolError} malformed, when it is cut off
   */
  text(what: string): string | undefined {
    const length = this.uint16(what);
    if (length > this.left) throw this.cut(what);
    const text = fromUtf8(this.bytes, this.at, this.at + length);
    this.at += length;
    return text?.includes("\0") ? undefined : text;
  }

  /** A part of the packet, whose fields are read on their own. @throws {ProtocolError} malformed */
  section(length: number, what: string): PacketFields {
    if (length > this.left) throw this.cut(what);
    this.at += length;
    return new PacketFields(this.name, this.bytes, this.at - length, this.at);
  }

  /** Nothing more may come. @throws {ProtocolError} malformed */
  finish(): void {
    if (this.left > 0) throw malformed(`${this.name} has ${this.left} bytes too many`);
  }

  /** The failure of a field that is not there in full. */
  cut(what: string): Error {
    return malformed(`${this.name} ends within ${what}`);
  }
}
