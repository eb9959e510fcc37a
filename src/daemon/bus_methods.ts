import { fromUtf8, utf8 } from "../base/bytes.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { call, either, type MethodTable, subscribe } from "../bus/methods.ts";
import {
  buffer,
  bufferOrList,
  optionalBoolean,
  optionalBuffer,
  optionalInt,
  optionalInts,
  type Params,
} from "../bus/params.ts";
import type { Qos } from "../aws/limits.ts";
import type { ConnectionStatusFeed } from "./readiness.ts";
import { MAX_LOGGED_CHARACTERS, RequestValidator } from "./request_validator.ts";
import type { Intake } from "../publish/intake.ts";
import { MAX_FRAME_BYTES } from "../wire/frame.ts";
import type { Value } from "../wire/object.ts";
import { MAX_EXPIRY_S } from "../publish/publisher.ts";
import type { Quarantine } from "../publish/quarantine.ts";
import type { StatusReport } from "./status_report.ts";
import type { Subscriptions } from "../subscribe/subscriptions.ts";

/** Checked by the validator, which can say for how long a topic. */
const anyQos = optionalInt(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 0);

/** The buffer of the C library, whose clients close their subscription on a larger frame, in bytes. */
const C_FRAME_BYTES = 10_000;

/** The least that `max_frame` may be, in bytes: an empty message with the longest topic. */
const MIN_FRAME_BYTES = 512;

/** Which messages of the quarantine are meant. */
const CHOICE = { seqs: optionalInts, all: optionalBoolean(false) };

const NO_PAYLOAD = new Uint8Array(0);

/** Messages that one answer of `quarantine_list` holds at most, so that it always fits into a frame. */
export const QUARANTINE_PAGE = 1_000;

/** What the methods work on. */
export interface MethodOptions {
  readonly intake: Pick<Intake, "publish">;
  readonly subscriptions: Pick<Subscriptions, "add">;
  readonly connection: Pick<ConnectionStatusFeed, "add">;
  readonly status: StatusReport;
  readonly quarantine: Pick<Quarantine, "list" | "retry" | "drop">;
  /** Connects anew, and tries again what is refused. */
  readonly reconnect: (reason: string) => void;
  readonly log: Log;
}

/** The methods of the interface `aws_iot_mqtt` (iotcored-1). */
export function busMethods(
  { intake, subscriptions, connection, status, quarantine, reconnect, log }: MethodOptions,
): MethodTable {
  const validator = new RequestValidator(log);
  return {
    publish: call({
      topic: buffer,
      payload: optionalBuffer,
      qos: anyQos,
      ack: optionalBuffer,
      message_expiry: optionalInt(1, MAX_EXPIRY_S, undefined),
    }, (params, reply) => {
      const topic = validator.topic(params.topic);
      const payload = params.payload ?? NO_PAYLOAD;
      validator.payload(payload.length, params.topic.length);
      const qos = validator.qos(params.qos, params.topic.length);
      const untilAcknowledged = params.ack !== undefined && waitsForBroker(params.ack, qos);
      intake.publish({
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
      max_frame: optionalInt(MIN_FRAME_BYTES, MAX_FRAME_BYTES, C_FRAME_BYTES),
      retain_flag: optionalBoolean(false),
    }, (params, subscriber) => {
      const filters = params.topic_filter.map((filter) => validator.filter(filter));
      if (filters.length === 0) {
        throw new BusError(
          BusErrorCode.INVALID,
          "Cannot subscribe: topic_filter must hold at least one filter",
        );
      }
      const qos = validator.qos(params.qos, params.topic_filter[0]!.length);
      subscriber.label = filters.join(" ").slice(0, MAX_LOGGED_CHARACTERS);
      const { virtual, max_frame: maxFrameBytes, retain_flag: retainFlag } = params;
      subscriptions.add({ filters, qos, virtual, maxFrameBytes, retainFlag }, subscriber);
    }),
    connection_status: subscribe({}, (_params, subscriber) => connection.add(subscriber)),
    status: either(
      call({}, () => status.value()),
      subscribe({}, (_params, subscriber) => status.watch(subscriber)),
    ),
    quarantine_list: call(
      { after: optionalInt(0, Number.MAX_SAFE_INTEGER, 0) },
      ({ after }) =>
        quarantine.list(after, QUARANTINE_PAGE).map(({ seq, topic, size, reason }): Value =>
          new Map<string, Value>([
            ["seq", BigInt(seq)],
            ["topic", utf8(topic)],
            ["bytes", BigInt(size)],
            ["reason", utf8(reason)],
          ])
        ),
    ),
    quarantine_retry: call(CHOICE, (params) => BigInt(quarantine.retry(chosen(params)))),
    quarantine_drop: call(CHOICE, (params) => BigInt(quarantine.drop(chosen(params)))),
    reconnect: call({}, () => {
      reconnect("a client asked for it");
      return null;
    }),
  } satisfies MethodTable;
}

/** The messages that are meant; `undefined` for all. */
function chosen({ seqs, all }: Params<typeof CHOICE>): readonly number[] | undefined {
  if (all === (seqs !== undefined)) {
    throw new BusError(
      BusErrorCode.INVALID,
      "Cannot choose messages: either seqs or all must be given",
    );
  }
  return seqs;
}

function waitsForBroker(ack: Uint8Array, qos: Qos): boolean {
  const text = fromUtf8(ack);
  if (text !== "accepted" && text !== "broker") {
    throw new BusError(BusErrorCode.INVALID, "Cannot publish: ack must be accepted or broker");
  }
  if (text === "broker" && qos === 0) {
    throw new BusError(
      BusErrorCode.INVALID,
      "Cannot publish: ack=broker needs qos 1, for QoS 0 has no PUBACK",
    );
  }
  return text === "broker";
}
