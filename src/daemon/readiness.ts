import type { Bytes } from "../base/bytes.ts";
import { encodeValueFrame } from "../wire/frame.ts";

/** What is needed of a client that wants to know whether the daemon is connected. */
export interface StatusSink {
  accept(): void;
  send(frame: Bytes): void;
  onClose(fn: () => void): void;
}

/** Tells clients whether connection 0 is up and subscribed: at once, then at every change. */
export class ConnectionStatus {
  readonly #sinks = new Set<StatusSink>();
  readonly #frames = { true: encodeValueFrame(true), false: encodeValueFrame(false) };
  #connected = false;

  /** Whether the daemon is connected. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Adds a client. */
  add(sink: StatusSink): void {
    this.#sinks.add(sink);
    sink.onClose(() => this.#sinks.delete(sink));
    sink.accept();
    sink.send(this.#frames[`${this.#connected}`]);
  }

  /** Tells everyone, if it is a change. */
  set(connected: boolean): void {
    if (connected === this.#connected) return;
    this.#connected = connected;
    for (const sink of [...this.#sinks]) sink.send(this.#frames[`${connected}`]);
  }
}
