import { type Backoff, backoffDelay, BUSY, RETRY } from "../base/backoff.ts";
import { Exit } from "../base/errors.ts";
import type { Level } from "../base/log.ts";
import { isAuthentication, isBusy, isSilentClose } from "./classify.ts";
import type { ConnectError } from "./connect_error.ts";
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
    | { readonly is: "idle" }
    /** Until the next attempt may begin, in ms of the clock. */
    | { readonly is: "waiting"; readonly until: number }
    | { readonly is: "connecting" }
    | { readonly is: "up"; readonly since: number }
    /** The link is being closed to make another one. */
    | { readonly is: "replacing" }
    /** Waits for answers to what is in flight, then for the end of the link. */
    | { readonly is: "stopping"; readonly phase: "draining" | "closing" }
    | { readonly is: "stopped" }
    /** Refused for good: credentials or their files. */
    | { readonly is: "failed" }
  );

/** What can happen; each event brings the time (ms of the clock) and a random number in [0, 1). */
export type Event =
  & { readonly now: number; readonly random: number }
  & (
    | { readonly is: "start" }
    | { readonly is: "timer" }
    | { readonly is: "linked"; readonly sessionPresent: boolean }
    | { readonly is: "refused"; readonly failure: ConnectError }
    | { readonly is: "ended"; readonly end: LinkEnd }
    /** Wanted by the operator (SIGHUP) or a changed configuration. */
    | { readonly is: "reconnect"; readonly reason: string }
    /** The link stands, but carries nothing any more: another one, and what went wrong so far still counts. */
    | { readonly is: "renew"; readonly reason: string }
    | { readonly is: "stop"; readonly graceMs: number }
    /** Nothing is in flight any more. */
    | { readonly is: "drained" }
  );

/** What the driver has to do, in order. */
export type Effect =
  | { readonly do: "open" }
  /** Gives the attempt up; nothing more comes from it. */
  | { readonly do: "abort" }
  | { readonly do: "close"; readonly force: boolean }
  | { readonly do: "timer"; readonly ms: number }
  | { readonly do: "cancel-timer" }
  /** Sends `drained` as soon as nothing is in flight. */
  | { readonly do: "drain" }
  | { readonly do: "up" }
  | { readonly do: "down"; readonly end: LinkEnd }
  | { readonly do: "fail"; readonly exit: 77 | 78; readonly failure: ConnectError }
  | { readonly do: "stopped" }
  | { readonly do: "log"; readonly level: Level; readonly text: string };

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
export const INITIAL: State = { is: "idle", history: FRESH };

/** What follows when something happens (iotcored-2, iotcored-3, iotcored-4). What means nothing in a state is ignored. */
export function step(state: State, event: Event): Step {
  switch (event.is) {
    case "start":
      return onStart(state, event);
    case "timer":
      return onTimer(state, event);
    case "linked":
      return state.is === "connecting" ? onLinked(state.history, event) : stay(state);
    case "refused":
      return state.is === "connecting" ? onRefused(state.history, event) : stay(state);
    case "ended":
      return onEnded(state, event);
    case "reconnect":
      return onReconnect(state, event);
    case "renew":
      return state.is === "up" ? replace(state.history, event.reason) : stay(state);
    case "stop":
      return onStop(state, event);
    case "drained":
      return state.is === "stopping" && state.phase === "draining" ? hangUp(state) : stay(state);
  }
}

type Of<K extends Event["is"]> = Extract<Event, { is: K }>;

function stay(state: State): Step {
  return { state, effects: [] };
}

function onStart(state: State, event: Of<"start">): Step {
  const begins = state.is === "idle" || state.is === "stopped" || state.is === "failed";
  return begins ? attempt(forgiven(state.history), event.now, event.now) : stay(state);
}

function onTimer(state: State, event: Of<"timer">): Step {
  // Timers may fire a little early.
  if (state.is === "waiting") return attempt(state.history, state.until, event.now);
  if (state.is === "stopping" && state.phase === "draining") {
    const text = "The broker did not acknowledge everything in the time allowed for stopping";
    return before(hangUp(state), [{ do: "log", level: "warn", text }]);
  }
  return stay(state);
}

function onLinked(history: History, { now, sessionPresent }: Of<"linked">): Step {
  const text = sessionPresent ? "Connected; the session was resumed" : "Connected";
  return {
    state: {
      is: "up",
      since: now,
      history: { ...history, connectAt: now, silent: 0, everUp: true },
    },
    effects: [{ do: "log", level: "info", text }, { do: "up" }],
  };
}

function onRefused(history: History, { failure, now, random }: Of<"refused">): Step {
  const exit = verdict(history, failure);
  const connectAt = failure.stage === "connack" ? now : history.connectAt;
  if (exit !== undefined) {
    return {
      state: { is: "failed", history: { ...history, connectAt } },
      effects: [{ do: "fail", exit, failure }],
    };
  }
  const silent = isSilentClose(failure) ? history.silent + 1 : 0;
  const hint = every(silent, SILENT_CLOSES)
    ? `The broker closed ${silent} times in a row before CONNACK. Likely causes: the certificate is not registered or not ` +
      `active, no policy is attached to it, the policy does not allow iot:Connect for this client id, or the endpoint is ` +
      `of another account or region`
    : undefined;
  const text = `Cannot connect: ${failure.message}`;
  const next = { ...history, connectAt, silent };
  return isBusy(failure)
    ? retry({ ...next, busy: next.busy + 1 }, next.busy, BUSY, text, hint, { now, random })
    : retry({ ...next, attempt: next.attempt + 1 }, next.attempt, RETRY, text, hint, {
      now,
      random,
    });
}

/** The exit code of a failure that another attempt would not mend. */
function verdict(history: History, failure: ConnectError): 77 | 78 | undefined {
  if (isAuthentication(failure)) return Exit.NOPERM;
  // While the daemon runs, files may be in the middle of a rotation.
  return failure.stage === "credentials" && !history.everUp ? Exit.CONFIG : undefined;
}

function onEnded(state: State, event: Of<"ended">): Step {
  const down: Effect = { do: "down", end: event.end };
  switch (state.is) {
    case "up":
      return before(onLost(state.history, state.since, event), [down]);
    case "replacing":
      return before(attempt(state.history, event.now, event.now), [down]);
    case "stopping":
      return {
        state: { is: "stopped", history: state.history },
        effects: [{ do: "cancel-timer" }, down, { do: "stopped" }],
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
  return retry(next, attempt, RETRY, text, lossHint(end, quick), { now, random });
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
  switch (state.is) {
    case "waiting":
      return before(attempt(history, now, now), [{ do: "cancel-timer" }, log]);
    case "failed":
      return before(attempt(history, now, now), [log]);
    case "connecting":
      // CONNECT may just have been sent.
      return before(attempt({ ...history, connectAt: now }, now, now), [{ do: "abort" }, log]);
    case "up":
      return replace(history, reason);
    default:
      return stay(state);
  }
}

/** Closes the link that stands, to make another one. */
function replace(history: History, reason: string): Step {
  return {
    state: { is: "replacing", history },
    effects: [reconnecting(reason), { do: "close", force: false }],
  };
}

function reconnecting(reason: string): Effect {
  return { do: "log", level: "info", text: `Reconnecting: ${reason}` };
}

function onStop(state: State, { graceMs }: Of<"stop">): Step {
  const { history } = state;
  const stopped: State = { is: "stopped", history };
  switch (state.is) {
    case "up":
      if (graceMs <= 0) return hangUp(state);
      return {
        state: { is: "stopping", phase: "draining", history },
        effects: [{ do: "timer", ms: graceMs }, { do: "drain" }],
      };
    case "replacing":
      return { state: { is: "stopping", phase: "closing", history }, effects: [] };
    case "stopping":
      return {
        state: { is: "stopping", phase: "closing", history },
        effects: [{ do: "cancel-timer" }, { do: "close", force: true }],
      };
    case "connecting":
      return { state: stopped, effects: [{ do: "abort" }, { do: "stopped" }] };
    case "waiting":
      return { state: stopped, effects: [{ do: "cancel-timer" }, { do: "stopped" }] };
    default:
      return { state: stopped, effects: [{ do: "stopped" }] };
  }
}

function hangUp({ history }: State): Step {
  return {
    state: { is: "stopping", phase: "closing", history },
    effects: [{ do: "cancel-timer" }, { do: "close", force: false }],
  };
}

/** Waits with backoff from when CONNECT may be sent again, then tries (iotcored-3). */
function retry(
  history: History,
  attempts: number,
  backoff: Backoff,
  text: string,
  hint: string | undefined,
  { now, random }: { now: number; random: number },
): Step {
  // The random part comes on top of the spacing: devices that fell together would else come back together, after exactly that.
  const notBefore = Math.max(now, spaced(history)) + backoffDelay(attempts, random, backoff);
  const next = attempt(history, notBefore, now);
  const wait = next.state.is === "waiting" ? next.state.until - now : 0;
  const effects: Effect[] = [{
    do: "log",
    level: "warn",
    text: `${text}; next attempt in ${(wait / 1_000).toFixed(1)} s`,
  }];
  if (hint !== undefined) effects.push({ do: "log", level: "warn", text: hint });
  return before(next, effects);
}

/** From when another CONNECT of this client id is allowed, in ms of the clock. */
function spaced({ connectAt }: History): number {
  return connectAt === undefined ? -Infinity : connectAt + CONNECT_SPACING_MS;
}

/** Connects, not before the given time nor within a second of the last CONNECT. */
function attempt(history: History, notBefore: number, now: number): Step {
  const until = Math.max(notBefore, spaced(history));
  return until <= now ? { state: { is: "connecting", history }, effects: [{ do: "open" }] } : {
    state: { is: "waiting", until, history },
    effects: [{ do: "timer", ms: Math.ceil(until - now) }],
  };
}

/** What went wrong so far does not count: something has changed. */
function forgiven(history: History): History {
  return { ...history, attempt: 0, busy: 0, silent: 0, quick: 0 };
}

function before(next: Step, effects: readonly Effect[]): Step {
  return { state: next.state, effects: [...effects, ...next.effects] };
}
