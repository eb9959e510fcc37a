import { fromUtf8 } from "../base/bytes.ts";
import { BusError, Code } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { call, type MethodTable, subscribe } from "../bus/methods.ts";
import {
  buffer,
  bufferOrList,
  optionalBoolean,
  optionalBuffer,
  optionalInt,
} from "../bus/params.ts";
import type { Qos } from "../mqtt/port.ts";
import { checkFilter, checkTopic } from "../topic/filter.ts";
import type { ConnectionStatus } from "./connection_status.ts";
import type { Publisher } from "./publisher.ts";
import type { Subscriptions } from "./subscriptions.ts";

/** Payload of one message, in bytes (AWS IoT Core quotas). */
export const MAX_PAYLOAD_BYTES = 131_072;

/** The longest `message_expiry` of MQTT 5, in seconds [MQTT5-3.3.2.3.3]. */
const MAX_EXPIRY_S = 0xffff_ffff;

const NO_PAYLOAD = new Uint8Array(0);

/** What the methods work on. */
export interface InterfaceParts {
  readonly publisher: Publisher;
  readonly subscriptions: Pick<Subscriptions<never>, "add">;
  readonly connection: ConnectionStatus;
  readonly log: Log;
}

/** The methods of the interface `aws_iot_mqtt` (iotcored-1). */
export function mqttInterface(
  { publisher, subscriptions, connection, log }: InterfaceParts,
): MethodTable {
  /** Refuses at the door what AWS IoT Core would close the shared connection for. */
  const checked = (what: "topic" | "filter", bytes: Uint8Array): string => {
    const text = fromUtf8(bytes);
    try {
      if (text === undefined) {
        throw new BusError(Code.INVALID, `Cannot use ${what}: it must be UTF-8`);
      }
      (what === "topic" ? checkTopic : checkFilter)(text);
      return text;
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      log.warn(`a ${what} is refused`, { bytes: bytes.length, rule: error.message });
      log.debug(`the refused ${what}`, { [what]: text });
      throw error;
    }
  };
  return {
    publish: call({
      topic: buffer,
      payload: optionalBuffer,
      qos: optionalInt(0, 1, 0),
      ack: optionalBuffer,
      message_expiry: optionalInt(1, MAX_EXPIRY_S, undefined),
    }, (params, reply) => {
      const topic = checked("topic", params.topic);
      const payload = params.payload ?? NO_PAYLOAD;
      if (payload.length > MAX_PAYLOAD_BYTES) throw tooLarge(payload.length, log);
      const qos = params.qos as Qos;
      const untilAcknowledged = params.ack !== undefined && waitsForBroker(params.ack, qos);
      publisher.publish({
        topic,
        payload,
        qos,
        messageExpiry: params.message_expiry,
        untilAcknowledged,
      }, reply);
    }),
    subscribe: subscribe({
      topic_filter: bufferOrList,
      qos: optionalInt(0, 1, 0),
      virtual: optionalBoolean(false),
    }, (params, subscriber) => {
      const filters = params.topic_filter.map((filter) => checked("filter", filter));
      if (filters.length === 0) {
        throw new BusError(
          Code.INVALID,
          "Cannot subscribe: topic_filter must hold at least one filter",
        );
      }
      subscriber.label = filters.join(" ");
      subscriptions.add(filters, params.qos as Qos, params.virtual, subscriber);
    }),
    connection_status: subscribe({}, (_params, subscriber) => connection.add(subscriber)),
  } satisfies MethodTable;
}

function tooLarge(bytes: number, log: Log): BusError {
  const text = `Cannot publish: payload must be at most ${MAX_PAYLOAD_BYTES} bytes, got ${bytes}`;
  log.warn("a payload is refused", { bytes, rule: text });
  return new BusError(Code.RANGE, text);
}

function waitsForBroker(ack: Uint8Array, qos: Qos): boolean {
  const text = fromUtf8(ack);
  if (text !== "accepted" && text !== "broker") {
    throw new BusError(Code.INVALID, "Cannot publish: ack must be accepted or broker");
  }
  if (text === "broker" && qos === 0) {
    throw new BusError(
      Code.INVALID,
      "Cannot publish: ack=broker needs qos 1, for QoS 0 has no PUBACK",
    );
  }
  return text === "broker";
}
