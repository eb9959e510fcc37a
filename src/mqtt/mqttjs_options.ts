const MAX_ID = 65_535;

/**
 * Packet identifiers of one connection, 1 to 65,535 in a circle [MQTT-2.3.1-1]. Unlike MQTT.js's own, it never gives out one
 * whose answer is still awaited, which AWS IoT Core withholds for good when a publish crosses a limit.
 */
export class PacketIds {
  readonly #used = new Set<number>();
  #last = 0;

  /** A free identifier, or `null` when all are in use, as MQTT.js wants it. */
  allocate(): number | null {
    if (this.#used.size >= MAX_ID) return null;
    do {
      this.#last = this.#last === MAX_ID ? 1 : this.#last + 1;
    } while (this.#used.has(this.#last));
    this.#used.add(this.#last);
    return this.#last;
  }

  /** The identifier that was given out last, or `null`. */
  getLastAllocated(): number | null {
    return this.#last === 0 ? null : this.#last;
  }

  /** Takes a certain identifier; `false` when it is in use. */
  register(id: number): boolean {
    if (this.#used.has(id)) return false;
    this.#used.add(id);
    return true;
  }

  /** Gives an identifier back. */
  deallocate(id: number): void {
    this.#used.delete(id);
  }

  /** Gives all identifiers back. */
  clear(): void {
    this.#used.clear();
  }
}
