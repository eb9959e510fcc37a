import { fromUtf8 } from "../base/bytes.ts";
import { BusError, Code } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { call, either, type MethodTable, subscribe } from "../bus/methods.ts";
import {
  buffer,
  bufferOrList,
  optionalBoolean,
  optionalBuffer,
  optionalInt,
} from "../bus/params.ts";
import type { Qos } from "../mqtt/link.ts";
import type { ConnectionStatus } from "./connection_status.ts";
import { Door, MAX_LOGGED_CHARACTERS } from "./door.ts";
import { MAX_EXPIRY_S, type Publisher } from "./publisher.ts";
import type { StatusReport } from "./status.ts";
import type { Subscriptions } from "./subscriptions.ts";

/** Refused at the door, which can say for how long a topic. */
const anyQos = optionalInt(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 0);

const NO_PAYLOAD = new Uint8Array(0);

/** What the methods work on. */
export interface InterfaceParts {
  readonly publisher: Publisher;
  readonly subscriptions: Pick<Subscriptions<never>, "add">;
  readonly connection: ConnectionStatus;
  readonly status: StatusReport;
  readonly log: Log;
}

/** The methods of the interface `aws_iot_mqtt` (iotcored-1). */
export function mqttInterface(
  { publisher, subscriptions, connection, status, log }: InterfaceParts,
): MethodTable {
  const door = new Door(log);
  return {
    publish: call({
      topic: buffer,
      payload: optionalBuffer,
      qos: anyQos,
      ack: optionalBuffer,
      message_expiry: optionalInt(1, MAX_EXPIRY_S, undefined),
    }, (params, reply) => {
      const topic = door.topic(params.topic);
      const payload = params.payload ?? NO_PAYLOAD;
      door.payload(payload.length, params.topic.length);
      const qos = door.qos(params.qos, params.topic.length);
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
      qos: anyQos,
      virtual: optionalBoolean(false),
    }, (params, subscriber) => {
      const filters = params.topic_filter.map((filter) => door.filter(filter));
      if (filters.length === 0) {
        throw new BusError(
          Code.INVALID,
          "Cannot subscribe: topic_filter must hold at least one filter",
        );
      }
      const qos = door.qos(params.qos, params.topic_filter[0]!.length);
      subscriber.label = filters.join(" ").slice(0, MAX_LOGGED_CHARACTERS);
      subscriptions.add(filters, qos, params.virtual, subscriber);
    }),
    connection_status: subscribe({}, (_params, subscriber) => connection.add(subscriber)),
    status: either(
      call({}, () => status.value()),
      subscribe({}, (_params, subscriber) => status.watch(subscriber)),
    ),
  } satisfies MethodTable;
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
