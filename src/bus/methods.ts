import type { Bytes } from "../base/bytes.ts";
import type { BusError } from "../base/errors.ts";
import type { Value, ValueMap } from "../wire/object.ts";
import { type Params, paramsReader, type Schema } from "./params.ts";

/** Where the handler of a `call` puts its answer: exactly once, at once or later; what comes after the first is ignored. */
export interface Reply {
  /** Whether the client wants no answer (`notify`); refusals are then only logged. */
  readonly notify: boolean;
  /** Answers with a result. */
  respond(value: Value): void;
  /** Answers with an error; the server closes the connection after it. */
  refuse(error: BusError): void;
}

/** A client that asked for a subscription. It has it once {@linkcode Subscriber.accept} was called. */
export interface Subscriber {
  /** The number of the client, for the log. */
  readonly id: number;
  /** What the log calls this subscription beside the client's number, such as its filter. */
  label: string;
  /** Bytes that wait for the client, those before `accept` included. */
  readonly queuedBytes: number;
  /** Tells the client that it is subscribed; sends what was sent before. Does nothing the second time. */
  accept(): void;
  /** Refuses instead of accepting, or ends an accepted subscription with an error frame. Closes. */
  refuse(error: BusError): void;
  /**
   * Queues one encoded frame, which may be shared among subscribers and is never modified. While a client does not keep up, the
   * server's `backPressure` is held, and nothing should be sent. After the close it does nothing.
   */
  send(frame: Bytes): void;
  /** Closes the connection after what is queued was written; the reason goes to the log. */
  close(reason: string): void;
  /** Calls `fn` once when the subscription is over, whoever ended it; at once when it is over already. */
  onClose(fn: () => void): void;
}

/** Answers a `call`: by its return value, or, when that is `undefined`, by `reply` (no promise on the hot path). */
export type CallHandler<S extends Schema> = (
  params: Params<S>,
  reply: Reply,
) => Value | Promise<Value> | undefined | void;

/** Takes a `subscribe`; accepts or refuses by `subscriber`, at once or later. A throw or rejection refuses. */
export type SubscribeHandler<S extends Schema> = (
  params: Params<S>,
  subscriber: Subscriber,
) => void | Promise<void>;

/** A method of kind `call` (also reached by `notify`). Buffers in `map` are views that end with the turn. */
export interface CallMethod {
  readonly kind: "call";
  run(map: ValueMap, reply: Reply): Value | Promise<Value> | undefined | void;
}

/** A method of kind `subscribe`. Buffers in `map` are views that end with the turn. */
export interface SubscribeMethod {
  readonly kind: "subscribe";
  run(map: ValueMap, subscriber: Subscriber): void | Promise<void>;
}

/** A method that may be called and subscribed to; the `type` of the request decides. */
export interface EitherMethod {
  readonly kind: "either";
  readonly call: CallMethod;
  readonly subscribe: SubscribeMethod;
}

/** One method of an interface. */
export type Method = CallMethod | SubscribeMethod | EitherMethod;

/** The methods of an interface by name; write tables as `{...} satisfies MethodTable`. */
export type MethodTable = Readonly<Record<string, Method>>;

/**
 * A method of kind `call`. Its handler throws {@linkcode BusError} to refuse; anything else thrown is a bug, answered with FAILURE.
 * Buffers among the parameters are views that end with the handler's synchronous part.
 */
export function call<S extends Schema>(schema: S, handle: CallHandler<S>): CallMethod {
  const read = paramsReader(schema);
  return { kind: "call", run: (map, reply) => handle(read(map), reply) };
}

/** A method of kind `subscribe`; throwing as with {@linkcode call}. */
export function subscribe<S extends Schema>(
  schema: S,
  handle: SubscribeHandler<S>,
): SubscribeMethod {
  const read = paramsReader(schema);
  return { kind: "subscribe", run: (map, subscriber) => handle(read(map), subscriber) };
}

/** A method that gives its value once when it is called, and again and again to who subscribes. */
export function either(call: CallMethod, subscribe: SubscribeMethod): EitherMethod {
  return { kind: "either", call, subscribe };
}
