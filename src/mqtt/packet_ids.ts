const MAX_ID = 65_535;

/** Identifiers that earlier connections of a session may keep reserved: half of all there are. */
const MAX_CARRIED = 32_768;

/** What the identifier of a PUBLISH is asked for with. */
export interface PublishIdRequest {
  /** Tells the message from others, however often it is sent. */
  readonly key: number;
  /** Whether it was sent on the session before, so that it goes under the identifier that it had [MQTT-4.4.0-1]. */
  readonly again: boolean;
}

/**
 * Packet identifiers of one session, 1 to 65,535 in a circle [MQTT-2.3.1-1]. Unlike MQTT.js's own, it never gives out one
 * whose answer is still awaited, which AWS IoT Core withholds for good when a publish crosses a limit; nor, while the session
 * is resumed, one under which an earlier connection sent a message that the broker did not acknowledge.
 */
export class PacketIds {
  readonly #used = new Set<number>();
  /** The messages without PUBACK that were sent on this connection, by identifier. */
  readonly #sent = new Map<number, number>();
  /** The identifiers of messages that earlier connections of the session sent, the last one last, by message. */
  readonly #carried = new Map<number, number[]>();
  #last = 0;
  #request: PublishIdRequest | undefined;

  /** CONNACK came on a new connection: what an earlier one left without an answer is reserved if the session was resumed. */
  connected(resumed: boolean): void {
    if (!resumed) this.#carried.clear();
    else for (const [id, key] of this.#sent) this.#carry(key, id);
    this.#sent.clear();
    this.clear();
  }

  /** The next identifier is for this message. */
  next(request: PublishIdRequest): void {
    this.#request = request;
  }

  /** A free identifier, or the one that the message had; `null` when all are in use, as MQTT.js wants it. */
  allocate(): number | null {
    const request = this.#request;
    this.#request = undefined;
    const id = request?.again === true
      ? this.#carriedId(request.key) ?? this.#free()
      : this.#free();
    if (id !== null && request !== undefined) this.#sent.set(id, request.key);
    return id;
  }

  /** The identifier that was given out last as a new one, or `null`. */
  getLastAllocated(): number | null {
    return this.#last === 0 ? null : this.#last;
  }

  /** Takes a certain identifier; `false` when it is in use. */
  register(id: number): boolean {
    if (this.#used.has(id)) return false;
    this.#used.add(id);
    return true;
  }

  /** Gives an identifier back, since its answer came, and with it what earlier connections sent the same message under. */
  deallocate(id: number): void {
    const key = this.#sent.get(id);
    this.#sent.delete(id);
    this.#used.delete(id);
    if (key === undefined) return;
    for (const older of this.#carried.get(key) ?? []) {
      if (!this.#sent.has(older)) this.#used.delete(older);
    }
    this.#carried.delete(key);
  }

  /** Gives all identifiers back, but for those that earlier connections of the session left without an answer. */
  clear(): void {
    this.#used.clear();
    for (const ids of this.#carried.values()) for (const id of ids) this.#used.add(id);
  }

  #free(): number | null {
    if (this.#used.size >= MAX_ID) return null;
    do {
      this.#last = this.#last === MAX_ID ? 1 : this.#last + 1;
    } while (this.#used.has(this.#last));
    this.#used.add(this.#last);
    return this.#last;
  }

  #carriedId(key: number): number | undefined {
    const id = this.#carried.get(key)?.at(-1);
    return id !== undefined && this.#sent.has(id) ? undefined : id;
  }

  /** The oldest are given up when there are too many: of messages that were never sent again, as they expired. */
  #carry(key: number, id: number): void {
    const ids = this.#carried.get(key);
    if (ids === undefined) this.#carried.set(key, [id]);
    else if (!ids.includes(id)) ids.push(id);
    if (this.#carried.size <= MAX_CARRIED) return;
    for (const oldest of this.#carried.keys()) {
      this.#carried.delete(oldest);
      return;
    }
  }
}
