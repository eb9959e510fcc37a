import { breach } from "./protocol_error.ts";
import type { FilterAnswer, Puback } from "./server_packet.ts";

/** A packet that is sent, as MQTT.js says so. */
export interface SentPacket {
  readonly cmd: string;
  readonly qos?: number;
  readonly messageId?: number;
  readonly subscriptions?: unknown;
  readonly unsubscriptions?: unknown;
}

/** What is to come for a packet identifier, and for how many filters. */
interface Awaited {
  readonly type: "puback" | "suback" | "unsuback";
  readonly count: number;
}

const PUBACK: Awaited = { type: "puback", count: 0 };

/** The answers that the broker owes on one link: no other may come. */
export class AwaitedAnswers {
  readonly #byId = new Map<number, Awaited>();

  /** A packet goes out. */
  sent({ cmd, qos, messageId, subscriptions, unsubscriptions }: SentPacket): void {
    if (messageId === undefined) return;
    if (cmd === "publish" && qos === 1) this.#byId.set(messageId, PUBACK);
    else if (cmd === "subscribe") {
      this.#byId.set(messageId, { type: "suback", count: lengthOf(subscriptions) });
    } else if (cmd === "unsubscribe") {
      this.#byId.set(messageId, { type: "unsuback", count: lengthOf(unsubscriptions) });
    }
  }

  /** An answer came. @param hasCodes UNSUBACK of MQTT 3.1.1 has none. @throws {ProtocolError} When it answers nothing */
  came(answer: Puback | FilterAnswer, hasCodes: boolean): void {
    const awaited = this.#byId.get(answer.id);
    const name = answer.type.toUpperCase();
    if (awaited?.type !== answer.type) {
      throw breach(`${name} came for packet ${answer.id}, which does not wait for one`);
    }
    this.#byId.delete(answer.id);
    if (answer.type === "puback" || !hasCodes) return;
    const { length } = answer.codes;
    if (length !== awaited.count) {
      throw breach(`${name} has ${length} codes for ${awaited.count} filters`);
    }
  }
}

function lengthOf(list: unknown): number {
  return Array.isArray(list) ? list.length : 1;
}
