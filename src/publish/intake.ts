import type { Bytes } from "../base/bytes.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import type { FaultHook } from "../base/fault.ts";
import type { Qos } from "../aws/limits.ts";
import type { PublishRefusal } from "../mqtt/broker_limits.ts";
import type { Spool } from "../spool/spool.ts";
import type { PubackWaiters, PublishReply } from "./puback.ts";
import type { Publisher } from "./publisher.ts";
import type { SendGate } from "./send_gate.ts";
import type { Condemned } from "./standings.ts";
import type { Qos0Queue } from "./qos0_queue.ts";

/** A message that a client wants published. */
export interface PublishRequest {
  readonly topic: string;
  /** A view that ends with the turn. */
  readonly payload: Bytes;
  readonly qos: Qos;
  /** Seconds until it is no longer worth sending. */
  readonly messageExpiry: number | undefined;
  /** Whether the answer waits for PUBACK. */
  readonly untilAcknowledged: boolean;
}

/** What an {@linkcode Intake} is made with. */
export interface IntakeOptions {
  readonly spool: Spool;
  readonly queue: Qos0Queue;
  readonly waiters: PubackWaiters;
  /** Whether messages can be sent now, and which the broker does not take. */
  readonly publisher: Pick<Publisher, "online" | "refusal">;
  /** Of connection 0. */
  readonly gate: Pick<SendGate, "refusal">;
  readonly keepQos0WhenOffline: boolean;
  /** For tests that end the process there. */
  readonly fault?: FaultHook | undefined;
}

/** Decides where a message goes: QoS 1, and QoS 0 that is kept offline, to the spool; QoS 0 to the queue; else it is refused. */
export class Intake {
  readonly #options: IntakeOptions;
  #keepQos0WhenOffline: boolean;
  #accepted = 0;
  #refused = 0;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#keepQos0WhenOffline = options.keepQos0WhenOffline;
  }

  /** Messages accepted since the start. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Messages refused since the start because the broker closes the connection for their topic. */
  get refused(): number {
    return this.#refused;
  }

  /** Uses a changed setting. */
  update({ keepQos0WhenOffline }: Pick<IntakeOptions, "keepQos0WhenOffline">): void {
    this.#keepQos0WhenOffline = keepQos0WhenOffline;
  }

  /** Accepts a message, or refuses it; answers once it is stored (QoS 1) or on its way (QoS 0). */
  publish(request: PublishRequest, reply: PublishReply): void {
    const refusal = this.#options.gate.refusal({ kind: "topic", name: request.topic });
    if (refusal !== undefined) return this.#refuse(refusal, reply);
    const { publisher } = this.#options;
    const limit = publisher.refusal(request);
    if (limit !== undefined) return refuse(limit, reply);
    const { online } = publisher;
    if (request.qos === 1 || (!online && this.#keepQos0WhenOffline)) {
      return this.#store(request, reply);
    }
    if (online) return this.#queue(request, reply);
    reply.refuse(
      new BusError(BusErrorCode.NOCONN, "Cannot publish with QoS 0: the broker is not connected"),
    );
  }

  #refuse({ reason }: Condemned, reply: PublishReply): void {
    this.#refused++;
    reply.refuse(
      new BusError(BusErrorCode.REMOTE, `Cannot publish: the topic is refused: ${reason}`, reason),
    );
  }

  #queue({ topic, payload, messageExpiry }: PublishRequest, reply: PublishReply): void {
    const { spool, queue } = this.#options;
    const expiresAt = messageExpiry === undefined ? undefined : spool.now() + messageExpiry * 1_000;
    // Nobody waits for the answer to a notify: it comes when the message has gone, so that no client has many in the queue.
    const onDone = reply.notify ? () => reply.respond(null) : undefined;
    if (!queue.push(topic, payload.slice(), expiresAt, onDone)) {
      const text = "Cannot publish with QoS 0: too many messages wait for the rate limit";
      return reply.refuse(new BusError(BusErrorCode.NOMEM, text));
    }
    this.#accepted++;
    if (!reply.notify) reply.respond(null);
    queue.onAvailable();
  }

  #store(request: PublishRequest, reply: PublishReply): void {
    const { topic, payload, qos, messageExpiry, untilAcknowledged } = request;
    const { fault, spool, waiters } = this.#options;
    const message = messageExpiry === undefined
      ? { topic, payload, qos }
      : { topic, payload, qos, messageExpiry };
    spool.append(message, (error, seq) => {
      if (error !== undefined) return reply.refuse(error);
      this.#accepted++;
      if (untilAcknowledged) return waiters.add(seq, reply, messageExpiry);
      fault?.("before answer");
      reply.respond(null);
      fault?.("after answer");
    });
  }
}

/** The message crosses a limit of the broker that is connected. */
function refuse({ kind, reason }: PublishRefusal, reply: PublishReply): void {
  const text = `Cannot publish: ${reason}`;
  reply.refuse(
    kind === "size"
      ? new BusError(BusErrorCode.RANGE, text)
      : new BusError(BusErrorCode.REMOTE, text, reason),
  );
}
