import { BusError, BusErrorCode, messageOf } from "../../src/base/errors.ts";
import { type BusConnection, connectBus } from "../../src/bus/client.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { open, requestFrame, writeAll } from "../support/crowd.ts";
import { listenSoon, publishParams } from "../support/daemon.ts";
import type { Ledger } from "../support/ledger.ts";
import type { Random } from "../support/random.ts";

/** What the clients did so far. */
export interface LoadCounts {
  /** Messages of QoS 0 that were accepted; what becomes of them is nobody's promise. */
  qos0: number;
  /** Messages that subscribers got. */
  heard: number;
  /** Requests that were refused, by code or kind. */
  readonly refused: Map<string, number>;
}

/** Clients of every kind on one daemon, until they are told to stop. */
export class Load {
  readonly counts: LoadCounts = { qos0: 0, heard: 0, refused: new Map() };
  readonly #actors: Promise<void>[] = [];
  #going = true;

  constructor(
    private readonly socket: string,
    private readonly ledger: Ledger,
    private readonly random: Random,
  ) {
    for (let n = 0; n < 3; n++) this.#act(() => this.#publishKept(`soak/kept/${n}`));
    this.#act(() => this.#publishOnce("soak/once"));
    this.#act(() => this.#publishQos0("soak/qos0"));
    for (let n = 0; n < 2; n++) this.#act(() => this.#subscribe());
    for (let n = 0; n < 5; n++) this.#act(() => this.#comeAndGo());
    for (let n = 0; n < 2; n++) this.#act(() => this.#beDeaf());
  }

  /** Stops every client. */
  async stop(): Promise<void> {
    this.#going = false;
    await Promise.all(this.#actors);
  }

  /** Does something again and again; the daemon may be away, or refuse. */
  #act(act: () => Promise<void>): void {
    this.#actors.push((async () => {
      while (this.#going) {
        try {
          await act();
        } catch (error) {
          const kind = error instanceof BusError
            ? Object.entries(BusErrorCode).find(([, code]) => code === error.code)![0]
            : messageOf(error).slice(0, 60);
          this.counts.refused.set(kind, (this.counts.refused.get(kind) ?? 0) + 1);
        }
        await pause(20);
      }
    })());
  }

  async #publishKept(topic: string): Promise<void> {
    const client = await connectBus(this.socket);
    try {
      while (this.#going) {
        await this.#publish(client, topic);
        await pause(10 + this.random.int(20));
      }
    } finally {
      client.close();
      await client.closed;
    }
  }

  async #publishOnce(topic: string): Promise<void> {
    const client = await connectBus(this.socket);
    try {
      await this.#publish(client, topic);
    } finally {
      client.close();
      await client.closed;
    }
  }

  async #publish(client: BusConnection, topic: string): Promise<void> {
    const { number, payload } = this.ledger.issue(topic);
    await client.call("publish", publishParams({ topic, payload, qos: 1 }));
    this.ledger.accept(topic, number);
  }

  async #publishQos0(topic: string): Promise<void> {
    const client = await connectBus(this.socket);
    try {
      while (this.#going) {
        const { payload } = this.ledger.issue(topic);
        await client.call("publish", publishParams({ topic, payload, qos: 0 }));
        this.counts.qos0++;
        await pause(30);
      }
    } finally {
      client.close();
      await client.closed;
    }
  }

  async #subscribe(): Promise<void> {
    const listener = listenSoon(this.socket, "soak/#");
    try {
      await listener.accepted;
      while (this.#going) {
        this.counts.heard += listener.messages.splice(0).length;
        const over = await Promise.race([listener.closed.then(() => true), pause(100)]);
        if (over) return;
      }
    } finally {
      await listener.close();
    }
  }

  async #comeAndGo(): Promise<void> {
    const listener = listenSoon(this.socket, `soak/+/${this.random.int(20)}`, {
      virtual: this.random.int(4) === 0,
    });
    try {
      await listener.accepted;
      await pause(this.random.int(300));
    } finally {
      await listener.close();
    }
  }

  async #beDeaf(): Promise<void> {
    using conn = await open(this.socket);
    await writeAll(conn, requestFrame(2, "subscribe", { topic_filter: utf8("soak/#") }));
    for (let n = 0; n < 300 && this.#going; n++) await pause(100);
  }
}

/** Resolves after so many ms. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
