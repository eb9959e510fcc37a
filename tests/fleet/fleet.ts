import { Random } from "../support/random.ts";
import { Account, type Quota } from "./account.ts";
import { Device, type Message, type Publish, type World } from "./device.ts";
import { Timers } from "./timers.ts";

/** A fleet and what happens to it. */
export interface Scene {
  readonly devices: number;
  readonly quota: Quota;
  /** What the account does with messages over its quota: nothing, or a PUBACK of 0x97. */
  readonly over: "silence" | "0x97";
  /** Messages of each device that wait for the network. */
  readonly backlog: number;
  /** How often each device gets a message beside them, in ms; `Infinity`: never. */
  readonly liveEveryMs: number;
  /** How long the devices ran without a network before, in ms; 0: they start with it. */
  readonly outageMs: number;
  /** When it ends at the latest, in ms. */
  readonly untilMs: number;
  /** How long from PUBLISH to PUBACK, in ms. */
  readonly roundTripMs: number;
  readonly seed: number;
}

/** What came of it. */
export interface Figures {
  /** CONNECTs that were refused, and links that were renewed, for each device. */
  readonly refused: number;
  readonly renewed: number;
  /** The least part of the fleet that was connected since all were for the first time. */
  readonly leastConnected: number;
  /** When all were connected for the first time, in seconds. */
  readonly allConnectedS: number;
  /** PUBLISH packets that were sent, and messages that were acknowledged. */
  readonly sends: number;
  readonly taken: number;
  /** When 99 % of the devices had their backlog taken, in seconds; `Infinity`: not in time. */
  readonly drainedS: number;
  /** How long it took until a live message was taken, of those that came before that, in seconds. */
  readonly liveP50S: number;
  readonly liveP99S: number;
}

/** How long from the beginning of a connection to CONNACK, in ms. */
const CONNECT_MS = 400;

/** A CONNECT under way, sent at that time. */
interface Connect {
  readonly sentAt: number;
  readonly device: Device;
}

/** Packets under way, that all take as long as each other. */
class Way<T extends { readonly sentAt: number }> {
  readonly #ms: number;
  #packets: T[] = [];
  #head = 0;

  constructor(ms: number) {
    this.#ms = ms;
  }

  /** When the first arrives. */
  get nextAt(): number {
    const next = this.#packets[this.#head];
    return next === undefined ? Infinity : next.sentAt + this.#ms;
  }

  push(packet: T): void {
    this.#packets.push(packet);
  }

  take(): T {
    const packet = this.#packets[this.#head++]!;
    if (this.#head > 4_096 && this.#head * 2 > this.#packets.length) {
      this.#packets = this.#packets.slice(this.#head);
      this.#head = 0;
    }
    return packet;
  }
}

/** Simulates a fleet by discrete events; the network is back at time 0. */
export class Fleet implements World {
  readonly random: Random;
  readonly #scene: Scene;
  readonly #account: Account;
  readonly #devices: Device[] = [];
  readonly #timers: Timers;
  readonly #pubacks: Way<Publish>;
  readonly #connacks = new Way<Connect>(CONNECT_MS);
  readonly #everUp: Uint8Array;
  readonly #left: Int32Array;
  /** How long live messages took, in ms. */
  readonly #live: number[] = [];
  #now = 0;
  /** Devices that were ever connected. */
  #met = 0;
  #refused = 0;
  #ups = 0;
  #connected = 0;
  #drained = 0;
  #sends = 0;
  #taken = 0;
  #allConnectedS = Infinity;
  #leastConnected = 1;
  #drainedS = Infinity;

  constructor(scene: Scene) {
    this.#scene = scene;
    this.random = new Random(scene.seed);
    this.#account = new Account(scene.quota);
    this.#pubacks = new Way(scene.roundTripMs);
    this.#timers = new Timers(scene.devices);
    this.#everUp = new Uint8Array(scene.devices);
    this.#left = new Int32Array(scene.devices).fill(scene.backlog);
    for (let id = 0; id < scene.devices; id++) {
      this.#devices.push(new Device(id, this, scene.backlog, scene.liveEveryMs));
    }
  }

  /** Runs until every backlog is taken, or the scene's end. */
  run(): Figures {
    this.#now = -this.#scene.outageMs;
    for (const device of this.#devices) device.start(this.#now);
    while (this.#drained < this.#scene.devices || this.#allConnectedS === Infinity) {
      const puback = this.#pubacks.nextAt;
      const connack = this.#connacks.nextAt;
      const timer = this.#timers.nextAt;
      this.#now = Math.min(puback, connack, timer);
      if (this.#now > this.#scene.untilMs) break;
      if (puback === this.#now) this.#onPuback(this.#pubacks.take());
      else if (connack === this.#now) this.#onConnack(this.#connacks.take());
      else this.#devices[this.#timers.take()]!.woken(this.#now);
    }
    return this.#figures();
  }

  wake(device: Device, at: number): void {
    this.#timers.set(device.id, at);
  }

  connect(device: Device, now: number): void {
    this.#connacks.push({ sentAt: now, device });
  }

  publish(publish: Publish): void {
    this.#sends++;
    publish.isTaken = this.#account.publishes(publish.sentAt);
    if (publish.isTaken || this.#scene.over === "0x97") this.#pubacks.push(publish);
  }

  onUp(device: Device, now: number): void {
    this.#ups++;
    this.#connected++;
    if (this.#everUp[device.id] === 1) return;
    this.#everUp[device.id] = 1;
    if (++this.#met < this.#scene.devices) return;
    this.#allConnectedS = now / 1_000;
    this.#leastConnected = this.#connected / this.#scene.devices;
  }

  onDown(): void {
    this.#connected--;
    if (this.#allConnectedS === Infinity) return;
    this.#leastConnected = Math.min(this.#leastConnected, this.#connected / this.#scene.devices);
  }

  onTaken(device: Device, message: Message, now: number): void {
    this.#taken++;
    if (message.bornAt !== undefined) {
      if (this.#drainedS === Infinity) this.#live.push(now - message.bornAt);
      return;
    }
    if (--this.#left[device.id]! > 0) return;
    this.#drained++;
    if (this.#drained === Math.ceil(this.#scene.devices * 0.99)) this.#drainedS = now / 1_000;
  }

  #onPuback(publish: Publish): void {
    publish.device.answered(publish, this.#now);
  }

  #onConnack({ device, sentAt }: Connect): void {
    if (sentAt < 0) return device.connected("no network", this.#now);
    const accepted = this.#account.connects(this.#now);
    if (!accepted) this.#refused++;
    device.connected(accepted ? "accepted" : "busy", this.#now);
  }

  #figures(): Figures {
    const live = Float64Array.from(this.#live).sort();
    const at = (part: number): number => (live[Math.floor(live.length * part)] ?? NaN) / 1_000;
    const { devices } = this.#scene;
    return {
      refused: this.#refused / devices,
      renewed: (this.#ups - this.#met) / devices,
      leastConnected: this.#leastConnected,
      allConnectedS: this.#allConnectedS,
      sends: this.#sends,
      taken: this.#taken,
      drainedS: this.#drainedS,
      liveP50S: at(0.5),
      liveP99S: at(0.99),
    };
  }
}
