import { BusError, BusErrorCode } from "../base/errors.ts";
import { MAX_PARTIAL_BYTES } from "./limits.ts";

/** A client in the middle of a large frame. */
export interface PartialFrameOwner {
  /** Its frame is not waited for any longer. */
  refuseFrame(error: BusError): void;
}

/** The memory for incomplete frames of all clients together: it is bounded, and who has made no progress for longest gives way. */
export class PartialFrames {
  /** Bytes by client; who made progress last is last. */
  readonly #bytes = new Map<PartialFrameOwner, number>();
  #total = 0;

  /** Bytes that are reserved. */
  get total(): number {
    return this.#total;
  }

  /** Bytes came for a client, which has so many reserved now; 0: none any more. */
  progress(owner: PartialFrameOwner, bytes: number): void {
    this.remove(owner);
    if (bytes === 0) return;
    this.#bytes.set(owner, bytes);
    this.#total += bytes;
    while (this.#total > MAX_PARTIAL_BYTES) this.#refuseOldest();
  }

  /** A client needs none any more. */
  remove(owner: PartialFrameOwner): void {
    this.#total -= this.#bytes.get(owner) ?? 0;
    this.#bytes.delete(owner);
  }

  #refuseOldest(): void {
    const [oldest] = this.#bytes.keys();
    if (oldest === undefined) return;
    this.remove(oldest);
    const why = `incomplete frames of all clients may take ${MAX_PARTIAL_BYTES} bytes together`;
    oldest.refuseFrame(new BusError(BusErrorCode.NOMEM, `Cannot wait for a frame: ${why}`));
  }
}
