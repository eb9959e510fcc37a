import { MAX_PAYLOAD_BYTES, type Qos } from "../aws/limits.ts";
import { fromUtf8 } from "../base/bytes.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { checkFilter, checkTopic } from "../topic/filter.ts";

/** Of a topic, or of the filters of a subscription, the log holds so many characters at most. */
export const MAX_LOGGED_CHARACTERS = 512;

/** Refuses what AWS IoT Core would close the shared connection for; the log says what rule, and for how long a topic. */
export class RequestValidator {
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /** The text of a topic. @throws {BusError} INVALID, or RANGE for its size */
  topic(bytes: Uint8Array): string {
    return this.#text("topic", bytes, checkTopic);
  }

  /** The text of a filter. @throws {BusError} INVALID, or RANGE for its size */
  filter(bytes: Uint8Array): string {
    return this.#text("filter", bytes, checkFilter);
  }

  /** @throws {BusError} RANGE */
  payload(bytes: number, topicBytes: number): void {
    if (bytes <= MAX_PAYLOAD_BYTES) return;
    const rule = `Cannot publish: payload must be at most ${MAX_PAYLOAD_BYTES} bytes, got ${bytes}`;
    this.#log.warn("a payload is refused", { topic_bytes: topicBytes, bytes, rule });
    throw new BusError(BusErrorCode.RANGE, rule);
  }

  /** QoS 2 does not exist at AWS IoT Core. @throws {BusError} INVALID */
  qos(qos: number, topicBytes: number): Qos {
    if (qos === 0 || qos === 1) return qos;
    const rule = `Cannot use qos: it must be 0 or 1, got ${qos}`;
    this.#log.warn("a qos is refused", { topic_bytes: topicBytes, rule });
    throw new BusError(BusErrorCode.INVALID, rule);
  }

  #text(what: "topic" | "filter", bytes: Uint8Array, check: (text: string) => void): string {
    const text = fromUtf8(bytes);
    try {
      if (text === undefined) {
        throw new BusError(BusErrorCode.INVALID, `Cannot use a ${what}: it must be UTF-8`);
      }
      check(text);
      return text;
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      this.#log.warn(`a ${what} is refused`, { topic_bytes: bytes.length, rule: error.message });
      this.#log.debug(`the refused ${what}`, { [what]: text?.slice(0, MAX_LOGGED_CHARACTERS) });
      throw error;
    }
  }
}
