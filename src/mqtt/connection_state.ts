import { backoffDelay, BUSY } from "../base/backoff.ts";
import { Exit } from "../base/errors.ts";
import type { Fields, Level } from "../base/log.ts";
import { type ConnectError, isAuthentication, isBusy, isSilentClose } from "./connect_error.ts";
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

/** DISCONNECT codes that leave the cause open: unspecified error, implementation specific error [MQTT5-3.14.2.1]. */
const UNTELLING: ReadonlySet<number> = new Set([0x80, 0x83]);

/** What outlives single attempts. */
export interface History {
  /** Attempts and links in a row that were no good: the exponent of the next wait. */
  readonly attempt: number;
  /** CONNECTs that a busy account refused since a link was good: the exponent of the wait after the next one. */
  readonly busy: number;
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
    /** The link stands, but carries nothing any more: another one, and what went wrong so far still counts. */
    | { readonly type: "renew"; readonly reason: string }
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

const FRESH: History = {
  attempt: 0,
  busy: 0,
  connectAt: undefined,
  silent: 0,
  quick: 0,
  everUp: false,
};

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
    case "renew":
      return state.type === "up" ? replace(state.history, event.reason) : stay(state);
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
  const text = `Cannot connect: ${failure.message}`;
  const { attempt, busy } = history;
  const next = { ...history, connectAt, silent };
  return isBusy(failure)
    ? retry({ ...next, busy: busy + 1 }, backoffDelay(busy, random, BUSY), text, hint, now)
    : retry({ ...next, attempt: attempt + 1 }, backoffDelay(attempt, random), text, hint, now);
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
  const attempt = good ? 0 : history.attempt;
  const next = { ...history, quick, attempt: attempt + 1, busy: good ? 0 : history.busy };
  const text = `The connection was lost: ${end.reason}`;
  return retry(next, backoffDelay(attempt, random), text, lossHint(end, quick), now);
}

function lossHint(end: LinkEnd, quick: number): string | undefined {
  if (end.code === SESSION_TAKEN_OVER) {
    return "Another device connected with the same client id and took the session over: client ids must be unique";
  }
  if (end.code !== undefined && !UNTELLING.has(end.code)) return undefined;
  if (!every(quick, QUICK_CLOSES)) return undefined;
  return `The broker closed the connection soon after accepting it, ${quick} times in a row. Likely causes: another device ` +
    `uses the same client id, the policy forbids a topic that is published or subscribed to, or a limit is crossed`;
}

/** Whether a count has reached `first`, or a later multiple of four times that: said again, but not each time. */
function every(count: number, first: number): boolean {
  return count === first || (count > 0 && count % (first * 4) === 0);
}

function onReconnect(state: State, { now, reason }: Of<"reconnect">): Step {
  const log = reconnecting(reason);
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
      return replace(history, reason);
    default:
      return stay(state);
  }
}

/** Closes the link that stands, to make another one. */
function replace(history: History, reason: string): Step {
  return {
    state: { type: "replacing", history },
    effects: [reconnecting(reason), { type: "close", force: false }],
  };
}

function reconnecting(reason: string): Effect {
  return { type: "log", level: "info", text: `Reconnecting: ${reason}` };
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

/** Waits `ms` from when CONNECT may be sent again, then tries (iotcored-3). */
function retry(
  history: History,
  ms: number,
  text: string,
  hint: string | undefined,
  now: number,
): Step {
  // On top of the spacing, not within it: devices that fell together would else come back together, after exactly a second.
  const next = attempt(history, Math.max(now, spaced(history)) + ms, now);
  const wait = next.state.type === "waiting" ? next.state.until - now : 0;
  const effects: Effect[] = [{
    type: "log",
    level: "warn",
    // The same each time but for its fields, so that a flood of it is counted and not repeated.
    text,
    fields: { next_attempt_s: (wait / 1_000).toFixed(1) },
  }];
  if (hint !== undefined) effects.push({ type: "log", level: "warn", text: hint });
  return before(next, effects);
}

/** From when another CONNECT of this client id is allowed, in ms of the clock. */
function spaced({ connectAt }: History): number {
  return connectAt === undefined ? -Infinity : connectAt + CONNECT_SPACING_MS;
}

/** Connects, not before the given time nor within a second of the last CONNECT. */
function attempt(history: History, notBefore: number, now: number): Step {
  const until = Math.max(notBefore, spaced(history));
  return until <= now ? { state: { type: "connecting", history }, effects: [{ type: "open" }] } : {
    state: { type: "waiting", until, history },
    effects: [{ type: "timer", ms: Math.ceil(until - now) }],
  };
}

/** What went wrong so far does not count: something has changed. */
function forgiven(history: History): History {
  return { ...history, attempt: 0, busy: 0, silent: 0, quick: 0 };
}

function before(next: Step, effects: readonly Effect[]): Step {
  return { state: next.state, effects: [...effects, ...next.effects] };
}
