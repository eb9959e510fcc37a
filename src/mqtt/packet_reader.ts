import type { Bytes } from "../base/bytes.ts";
import { Breach, malformed, ProtocolError } from "./protocol_error.ts";
import type { RawPacket } from "./server_packet.ts";

/** The largest packet that is read, in bytes with its header: twice the payload that AWS IoT Core carries. */
export const MAX_PACKET_BYTES = 262_144;

/** The first byte and a remaining length of four bytes [MQTT-2.2.3]. */
const HEADER_BYTES = 5;

const NOTHING: Bytes = new Uint8Array(0);

/** The fixed header at a place: how long it and the whole packet are. */
interface Extent {
  readonly header: number;
  readonly total: number;
}

/**
 * Packets out of a stream that comes in pieces of any size: give it a piece with {@linkcode push}, then take every packet with
 * {@linkcode next}. What a packet declares is checked before anything of it is kept.
 */
export class PacketReader {
  #chunk = NOTHING;
  #at = 0;
  /** A packet that came in part: as many bytes as it has, once that is known; else room for a header. */
  #partial: Bytes | undefined;
  #have = 0;

  /** Whether the middle of a packet has been reached. */
  get inPacket(): boolean {
    return this.#partial !== undefined || this.#at < this.#chunk.length;
  }

  /** Takes the next piece, which is never written again, when {@linkcode next} has none left. */
  push(chunk: Bytes): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /**
   * The next packet, or `undefined` until more bytes have come. Whole packets of a piece are views of it.
   *
   * @throws {ProtocolError} When it is too large, or its length is none; the stream is lost then
   */
  next(): RawPacket | undefined {
    if (this.#partial !== undefined) return this.#complete(this.#partial);
    const left = this.#chunk.length - this.#at;
    if (left === 0) return undefined;
    const extent = extentOf(this.#chunk, this.#at, this.#chunk.length);
    if (extent !== undefined && extent.total <= left) {
      const start = this.#at;
      this.#at += extent.total;
      return packet(this.#chunk, start, extent);
    }
    this.#partial = new Uint8Array(extent?.total ?? HEADER_BYTES);
    this.#have = 0;
    this.#take(left);
    return undefined;
  }

  #complete(partial: Bytes): RawPacket | undefined {
    let extent = extentOf(partial, 0, this.#have);
    while (extent === undefined) {
      if (this.#at === this.#chunk.length) return undefined;
      this.#take(1);
      extent = extentOf(partial, 0, this.#have);
      if (extent !== undefined) partial = this.#resize(partial, extent.total);
    }
    this.#take(Math.min(extent.total - this.#have, this.#chunk.length - this.#at));
    if (this.#have < extent.total) return undefined;
    this.#partial = undefined;
    return packet(partial, 0, extent);
  }

  #resize(partial: Bytes, total: number): Bytes {
    const resized = new Uint8Array(total);
    resized.set(partial.subarray(0, this.#have));
    return this.#partial = resized;
  }

  #take(count: number): void {
    this.#partial!.set(this.#chunk.subarray(this.#at, this.#at + count), this.#have);
    this.#have += count;
    this.#at += count;
    // A piece may be much larger than what is left of it.
    if (this.#at === this.#chunk.length) this.push(NOTHING);
  }
}

function packet(bytes: Bytes, start: number, { header, total }: Extent): RawPacket {
  return { first: bytes[start]!, bytes, start, at: start + header, end: start + total };
}

/** `undefined` while the header is not there in full. */
function extentOf(bytes: Bytes, start: number, end: number): Extent | undefined {
  let length = 0;
  for (let n = 1; n < HEADER_BYTES; n++) {
    if (start + n >= end) return undefined;
    const byte = bytes[start + n]!;
    length |= (byte & 0x7f) << 7 * (n - 1);
    if (byte > 0x7f) continue;
    if (byte === 0 && n > 1) throw malformed("a remaining length has more bytes than it needs");
    const header = n + 1;
    const total = header + length;
    if (total <= MAX_PACKET_BYTES) return { header, total };
    throw new ProtocolError(
      Breach.TOO_LARGE,
      `a packet of ${total} bytes was announced; at most ${MAX_PACKET_BYTES} are allowed`,
    );
  }
  throw malformed("a remaining length has more than four bytes");
}
