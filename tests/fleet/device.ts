import { AWS_RATE_LIMITS, RateWindow } from "../../src/aws/rate_window.ts";
import { ConnectError } from "../../src/mqtt/connect_error.ts";
import { type Event, INITIAL, type State, step } from "../../src/mqtt/connection_state.ts";
import type { LinkEnd } from "../../src/mqtt/link.ts";
import { CongestionWindow } from "../../src/publish/congestion_window.ts";
import type { Random } from "../support/random.ts";

/** A message that a client on the device handed over. */
export interface Message {
  /** When it came, in ms; `undefined`: it is of the backlog. */
  readonly bornAt: number | undefined;
  taken: boolean;
}

/** A PUBLISH under way. */
export interface Publish {
  readonly sentAt: number;
  readonly message: Message;
  readonly device: Device;
  /** Links that the device had before. */
  readonly link: number;
  /** Whether the account took it, as the PUBACK will say. */
  isTaken: boolean;
}

/** What a device can do to the world. */
export interface World {
  readonly random: Random;
  /** Wakes the device at that time, instead of when it was to be woken before. */
  wake(device: Device, at: number): void;
  /** Sends CONNECT; {@linkcode Device.connected} follows. */
  connect(device: Device, now: number): void;
  publish(publish: Publish): void;
  onUp(device: Device, now: number): void;
  onDown(): void;
  onTaken(device: Device, message: Message, now: number): void;
}

/** Bytes of each message: the limit of bytes is far away. */
const BYTES = 200;

const RECEIVE_MAXIMUM = 100;

/** Messages a second of one connection, that of AWS IoT Core. */
const PER_SECOND = AWS_RATE_LIMITS.count * 1_000 / AWS_RATE_LIMITS.windowMs;

const BUSY = new ConnectError("connack", "closed", "closed before CONNACK");
const NO_NETWORK = new ConnectError("tcp", "unreachable", "no route");
const CLOSED_HERE: LinkEnd = { by: "local", reason: "closed here" };

/** What became of a CONNECT. */
export type ConnectOutcome = "accepted" | "busy" | "no network";

type Unstamped<E> = E extends Event ? Omit<E, "now" | "random"> : never;

/** A device with a backlog, driven by the modules that the daemon is driven by. */
export class Device {
  readonly #world: World;
  readonly #window = new CongestionWindow<Publish>(PER_SECOND);
  readonly #rate = new RateWindow(AWS_RATE_LIMITS);
  #state: State = INITIAL;
  #links = 0;
  /** Messages to be sent again, before all others. */
  readonly #again: Message[] = [];
  /** Messages of the backlog that were never sent. */
  #backlog: number;
  /** Messages that came since, in order. */
  readonly #live: Message[] = [];
  readonly #unanswered = new Set<Publish>();
  /** The message that goes next, once it was looked for. */
  #first: Message | undefined;
  /** When to look for missing PUBACKs; before that they are not asked for, which would take most of the time. */
  #lookAt = Infinity;
  readonly #liveEveryMs: number;
  #nextLiveAt: number;

  /** @param liveEveryMs How often a message comes beside the backlog; `Infinity`: never. */
  constructor(readonly id: number, world: World, backlog: number, liveEveryMs: number) {
    this.#world = world;
    this.#backlog = backlog;
    this.#liveEveryMs = liveEveryMs;
    this.#nextLiveAt = liveEveryMs === Infinity ? Infinity : liveEveryMs * world.random.float();
  }

  /** The daemon starts. */
  start(now: number): void {
    this.#happened({ type: "start" }, now);
  }

  /** The time has come that the device wanted to be woken at. */
  woken(now: number): void {
    while (this.#nextLiveAt <= now) {
      this.#live.push({ bornAt: this.#nextLiveAt, taken: false });
      this.#nextLiveAt += this.#liveEveryMs;
    }
    if (this.#state.type === "up") this.#look(now);
    else if (this.#state.type === "waiting" && this.#state.until <= now) {
      this.#happened({ type: "timer" }, now);
    } else if (this.#state.type === "waiting") this.#wake(this.#state.until);
  }

  /** CONNECT was answered, or not. */
  connected(outcome: ConnectOutcome, now: number): void {
    if (outcome === "accepted") {
      this.#happened({ type: "linked", sessionPresent: false, address: "" }, now);
    } else {this.#happened(
        { type: "refused", failure: outcome === "busy" ? BUSY : NO_NETWORK },
        now,
      );}
  }

  /** PUBACK: the message was taken, or turned away with 0x97. */
  answered(publish: Publish, now: number): void {
    if (publish.link !== this.#links || this.#state.type !== "up") return;
    this.#unanswered.delete(publish);
    if (publish.isTaken) {
      this.#window.acknowledged(publish, now);
      if (!publish.message.taken) {
        publish.message.taken = true;
        this.#world.onTaken(this, publish.message, now);
      }
    } else {
      this.#window.turnedAway(publish, now);
      this.#again.push(publish.message);
    }
    this.#pump(now);
  }

  #look(now: number): void {
    if (now >= this.#lookAt) {
      const { again, renew } = this.#window.look(now, this.#world.random.float());
      for (const publish of again) {
        this.#unanswered.delete(publish);
        this.#again.push(publish.message);
      }
      if (renew) {
        return this.#happened({ type: "renew", reason: "too little is acknowledged" }, now);
      }
      this.#lookAt = this.#window.dueAt ?? Infinity;
    }
    this.#pump(now);
  }

  #pump(now: number): void {
    let wait = Infinity;
    while (this.#window.free > 0) {
      const message = this.#first ??= this.#next();
      if (message === undefined) break;
      wait = Math.max(this.#window.rate.delay(now), this.#rate.delay(now, BYTES));
      if (wait > 0) break;
      this.#first = undefined;
      this.#send(message, now);
      wait = Infinity;
    }
    this.#wake(Math.min(now + wait, this.#lookAt));
  }

  #next(): Message | undefined {
    for (let again; (again = this.#again.shift()) !== undefined;) if (!again.taken) return again;
    if (this.#backlog === 0) return this.#live.shift();
    this.#backlog--;
    return { bornAt: undefined, taken: false };
  }

  #send(message: Message, now: number): void {
    this.#rate.take(now, BYTES);
    const publish = { sentAt: now, message, device: this, link: this.#links, isTaken: false };
    this.#unanswered.add(publish);
    this.#window.rate.sent(now);
    this.#lookAt = Math.min(this.#lookAt, this.#window.sent(publish));
    this.#world.publish(publish);
  }

  #wake(at: number): void {
    this.#world.wake(this, Math.min(at, this.#nextLiveAt));
  }

  #happened(event: Unstamped<Event>, now: number): void {
    const stamped = { ...event, now, random: this.#world.random.float() } as Event;
    const { state, effects } = step(this.#state, stamped);
    this.#state = state;
    for (const effect of effects) {
      switch (effect.type) {
        case "open":
          this.#wake(Infinity);
          this.#world.connect(this, now);
          break;
        case "timer":
          this.#wake(now + effect.ms);
          break;
        case "close":
          this.#happened({ type: "ended", end: CLOSED_HERE }, now);
          break;
        case "up":
          this.#onUp(now);
          break;
        case "down":
          this.#onDown();
          break;
      }
    }
  }

  #onUp(now: number): void {
    this.#links++;
    this.#window.linked(RECEIVE_MAXIMUM, RECEIVE_MAXIMUM);
    this.#lookAt = Infinity;
    this.#world.onUp(this, now);
    this.#pump(now);
  }

  #onDown(): void {
    for (const { message } of this.#unanswered) this.#again.push(message);
    this.#unanswered.clear();
    this.#world.onDown();
  }
}
