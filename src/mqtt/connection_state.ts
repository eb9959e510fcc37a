import { backoffDelay } from "../base/backoff.ts";
import { Exit } from "../base/errors.ts";
import type { Fields, Level } from "../base/log.ts";
import { type ConnectError, isAuthentication, isSilentClose } from "./connect_error.ts";
import type { LinkEnd } from "./link.ts";

/** A connection that stood this long was good: the next wait is a short one again, in ms. */
export const STANDING_MS = 30_000;

/** Least time between two CONNECTs of one client id, in ms: a limit of AWS IoT Core. */
export const CONNECT_SPACING_MS = 1_000;

/** A link that the broker closes sooner than this after CONNACK was closed quickly, in ms. */
export const QUICK_CLOSE_MS = 5_000;

/** After so many closes before CONNACK in a row the log names likely causes. */
export const SILENT_CLOSES = 5;

/** After so many quick closes in a row the log names likely causes. */
export const QUICK_CLOSES = 3;

/** The DISCONNECT code of a broker whose session another connection took [MQTT5-3.14.2.1]. */
const SESSION_TAKEN_OVER = 0x8e;

/** What outlives single attempts. */
export interface History {
  /** Attempts and links in a row that were no good: the exponent of the next wait. */
  readonly attempt: number;
  /** No CONNECT was sent after this, in ms of the clock; `undefined` before the first. */
  readonly connectAt: number | undefined;
  /** Closes before CONNACK in a row. */
  readonly silent: number;
  /** Closes soon after CONNACK in a row. */
  readonly quick: number;
  /** Whether a link ever stood. */
  readonly everUp: boolean;
}

/** Where a connection is. */
export type State =
  & { readonly history: History }
  & (
    | { readonly type: "idle" }
    /** Until the next attempt may begin, in ms of the clock. */
    | { readonly type: "waiting"; readonly until: number }
    | { readonly type: "connecting" }
    | { readonly type: "up"; readonly since: number }
    /** The link is being closed to make another one. */
    | { readonly type: "replacing" }
    /** The link is being closed for good. */
    | { readonly type: "stopping" }
    | { readonly type: "stopped" }
    /** Refused for good: credentials or their files. */
    | { readonly type: "failed" }
  );

/** What can happen; each event brings the time (ms of the clock) and a random number in [0, 1). */
export type Event =
  & { readonly now: number; readonly random: number }
  & (
    | { readonly type: "start" }
    | { readonly type: "timer" }
    /** @property address Where the TCP connection leads. */
    | { readonly type: "linked"; readonly sessionPresent: boolean; readonly address: string }
    | { readonly type: "refused"; readonly failure: ConnectError }
    | { readonly type: "ended"; readonly end: LinkEnd }
    /** Wanted by the operator (SIGHUP) or a changed configuration. */
    | { readonly type: "reconnect"; readonly reason: string }
    | { readonly type: "stop" }
  );

/** What the driver has to do, in order. */
export type Effect =
  | { readonly type: "open" }
  /** Gives the attempt up; nothing more comes from it. */
  | { readonly type: "abort" }
  | { readonly type: "close"; readonly force: boolean }
  | { readonly type: "timer"; readonly ms: number }
  | { readonly type: "cancel-timer" }
  | { readonly type: "up" }
  | { readonly type: "down"; readonly end: LinkEnd }
  | { readonly type: "fail"; readonly exit: 77 | 78; readonly failure: ConnectError }
  | { readonly type: "stopped" }
  | {
    readonly type: "log";
    readonly level: Level;
    readonly text: string;
    readonly fields?: Fields;
  };

/** A state and what to do on the way to it. */
export interface Step {
  readonly state: State;
  readonly effects: readonly Effect[];
}

const FRESH: History = { attempt: 0, connectAt: undefined, silent: 0, quick: 0, everUp: false };

/** Where every connection begins. */
export const INITIAL: State = { type: "idle", history: FRESH };

/** What follows when something happens (iotcored-2, iotcored-3, iotcored-4). What means nothing in a state is ignored. */
export function step(state: State, event: Event): Step {
  switch (event.type) {
    case "start":
      return onStart(state, event);
    case "timer":
      return onTimer(state, event);
    case "linked":
      return state.type === "connecting" ? onLinked(state.history, event) : stay(state);
    case "refused":
      return state.type === "connecting" ? onRefused(state.history, event) : stay(state);
    case "ended":
      return onEnded(state, event);
    case "reconnect":
      return onReconnect(state, event);
    case "stop":
      return onStop(state);
  }
}

type Of<K extends Event["type"]> = Extract<Event, { type: K }>;

function stay(state: State): Step {
  return { state, effects: [] };
}

function onStart(state: State, event: Of<"start">): Step {
  const begins = state.type === "idle" || state.type === "stopped" || state.type === "failed";
  return begins ? attempt(forgiven(state.history), event.now, event.now) : stay(state);
}

function onTimer(state: State, event: Of<"timer">): Step {
  // Timers may fire a little early.
  return state.type === "waiting" ? attempt(state.history, state.until, event.now) : stay(state);
}

function onLinked(history: History, { now, sessionPresent, address }: Of<"linked">): Step {
  const text = sessionPresent ? "Connected; the session was resumed" : "Connected";
  return {
    state: {
      type: "up",
      since: now,
      history: { ...history, connectAt: now, silent: 0, everUp: true },
    },
    effects: [{ type: "log", level: "info", text, fields: { address } }, { type: "up" }],
  };
}

function onRefused(history: History, { failure, now, random }: Of<"refused">): Step {
  const exit = verdict(history, failure);
  const connectAt = failure.stage === "connack" ? now : history.connectAt;
  if (exit !== undefined) {
    return {
      state: { type: "failed", history: { ...history, connectAt } },
      effects: [{ type: "fail", exit, failure }],
    };
  }
  const silent = isSilentClose(failure) ? history.silent + 1 : 0;
  const hint = every(silent, SILENT_CLOSES)
    ? `The broker closed ${silent} times in a row before CONNACK. Likely causes: the certificate is not registered or not ` +
      `active, no policy is attached to it, the policy does not allow iot:Connect for this client id, or the endpoint is ` +
      `of another account or region`
    : undefined;
  return retry({ ...history, connectAt, silent }, `Cannot connect: ${failure.message}`, hint, {
    now,
    random,
  });
}

/** The exit code of a failure that another attempt would not mend. */
function verdict(history: History, failure: ConnectError): 77 | 78 | undefined {
  if (isAuthentication(failure)) return Exit.NOPERM;
  // While the daemon runs, files may be in the middle of a rotation.
  return failure.kind === "config" && !history.everUp ? Exit.CONFIG : undefined;
}

function onEnded(state: State, event: Of<"ended">): Step {
  const down: Effect = { type: "down", end: event.end };
  switch (state.type) {
    case "up":
      return before(onLost(state.history, state.since, event), [down]);
    case "replacing":
      return before(attempt(state.history, event.now, event.now), [down]);
    case "stopping":
      return {
        state: { type: "stopped", history: state.history },
        effects: [down, { type: "stopped" }],
      };
    default:
      return stay(state);
  }
}

function onLost(history: History, since: number, { end, now, random }: Of<"ended">): Step {
  const stood = now - since;
  const quick = end.by === "peer" && stood < QUICK_CLOSE_MS ? history.quick + 1 : 0;
  const good = stood >= STANDING_MS;
  const next = { ...history, quick, attempt: good ? 0 : history.attempt };
  return retry(next, `The connection was lost: ${end.reason}`, lossHint(end, quick), {
    now,
    random,
  });
}

function lossHint(end: LinkEnd, quick: number): string | undefined {
  if (end.code === SESSION_TAKEN_OVER) {
    return "Another device connected with the same client id and took the session over: client ids must be unique";
  }
  if (!every(quick, QUICK_CLOSES)) return undefined;
  return `The broker closed the connection soon after accepting it, ${quick} times in a row. Likely causes: another device ` +
    `uses the same client id, the policy forbids a topic that is published or subscribed to, or a limit is crossed`;
}

/** Whether a count has reached `first`, or a later multiple of four times that: said again, but not each time. */
function every(count: number, first: number): boolean {
  return count === first || (count > 0 && count % (first * 4) === 0);
}

function onReconnect(state: State, { now, reason }: Of<"reconnect">): Step {
  const log: Effect = { type: "log", level: "info", text: `Reconnecting: ${reason}` };
  const history = forgiven(state.history);
  switch (state.type) {
    case "waiting":
      return before(attempt(history, now, now), [{ type: "cancel-timer" }, log]);
    case "failed":
      return before(attempt(history, now, now), [log]);
    case "connecting":
      // CONNECT may just have been sent.
      return before(attempt({ ...history, connectAt: now }, now, now), [{ type: "abort" }, log]);
    case "up":
      return {
        state: { type: "replacing", history },
        effects: [log, { type: "close", force: false }],
      };
    default:
      return stay(state);
  }
}

function onStop(state: State): Step {
  const { history } = state;
  const stopping: State = { type: "stopping", history };
  const stopped: State = { type: "stopped", history };
  switch (state.type) {
    case "up":
      return { state: stopping, effects: [{ type: "close", force: false }] };
    case "replacing":
      return { state: stopping, effects: [] };
    case "stopping":
      return { state: stopping, effects: [{ type: "close", force: true }] };
    case "connecting":
      return { state: stopped, effects: [{ type: "abort" }, { type: "stopped" }] };
    case "waiting":
      return { state: stopped, effects: [{ type: "cancel-timer" }, { type: "stopped" }] };
    default:
      return { state: stopped, effects: [{ type: "stopped" }] };
  }
}

/** Waits with backoff, then tries again (iotcored-3). */
function retry(
  history: History,
  text: string,
  hint: string | undefined,
  { now, random }: { now: number; random: number },
): Step {
  const notBefore = now + backoffDelay(history.attempt, random);
  const next = attempt({ ...history, attempt: history.attempt + 1 }, notBefore, now);
  const wait = next.state.type === "waiting" ? next.state.until - now : 0;
  const effects: Effect[] = [{
    type: "log",
    level: "warn",
    text: `${text}; next attempt in ${(wait / 1_000).toFixed(1)} s`,
  }];
  if (hint !== undefined) effects.push({ type: "log", level: "warn", text: hint });
  return before(next, effects);
}

/** Connects, not before the given time nor within a second of the last CONNECT. */
function attempt(history: History, notBefore: number, now: number): Step {
  const { connectAt } = history;
  const until = connectAt === undefined
    ? notBefore
    : Math.max(notBefore, connectAt + CONNECT_SPACING_MS);
  return until <= now ? { state: { type: "connecting", history }, effects: [{ type: "open" }] } : {
    state: { type: "waiting", until, history },
    effects: [{ type: "timer", ms: Math.ceil(until - now) }],
  };
}

/** What went wrong so far does not count: something has changed. */
function forgiven(history: History): History {
  return { ...history, attempt: 0, silent: 0, quick: 0 };
}

function before(next: Step, effects: readonly Effect[]): Step {
  return { state: next.state, effects: [...effects, ...next.effects] };
}
