import { utf8 } from "../../../src/base/bytes.ts";
import { BusError, BusErrorCode } from "../../../src/base/errors.ts";
import type { Subscription } from "../../../src/bus/client.ts";
import { CONFIG_PREFIX } from "../../../src/config/settings.ts";
import type { ConfigSource } from "../../../src/config/service.ts";
import type { Value } from "../../../src/wire/object.ts";

/** A watch of a test: the test says when it is accepted, when something is written, and when it ends. */
export interface FakeWatch {
  readonly path: string;
  readonly open: boolean;
  accept(): void;
  write(): void;
  end(error?: BusError): void;
}

/** The required values, without a port. */
export const REQUIRED: Readonly<Record<string, string>> = {
  [CONFIG_PREFIX + "iotDataEndpoint"]: "broker.example",
  "system/thingName": "thing",
  "system/rootCaPath": "/ca.pem",
  "system/certificateFilePath": "/cert.pem",
  "system/privateKeyPath": "/key.pem",
};

/** A config service in memory. */
export class FakeSource implements ConfigSource {
  readonly where = "/bus/gg_config";
  readonly values = new Map<string, Value>();
  readonly watches: FakeWatch[] = [];
  /** What reading fails with. */
  error: BusError | undefined;
  /** Reading lasts until this is called. */
  release: (() => void) | undefined;
  slow = false;
  reads = 0;
  asked: readonly string[] = [];

  constructor(values: Readonly<Record<string, string>> = REQUIRED) {
    for (const [key, text] of Object.entries(values)) this.values.set(key, utf8(text));
  }

  async read(keys: readonly string[], signal?: AbortSignal): Promise<ReadonlyMap<string, Value>> {
    this.reads++;
    this.asked = keys;
    if (this.slow) {
      await new Promise<void>((resolve) => {
        this.release = resolve;
        signal?.addEventListener("abort", () => resolve());
      });
    }
    if (signal?.aborted) throw new BusError(BusErrorCode.TIMEOUT, "given up");
    if (this.error !== undefined) throw this.error;
    return new Map([...this.values].filter(([key]) => keys.includes(key)));
  }

  watch(path: string, onWrite: () => void): Subscription {
    const accepted = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<BusError | undefined>();
    accepted.promise.catch(() => {});
    let open = true;
    const end = (error?: BusError): void => {
      open = false;
      accepted.reject(error ?? new BusError(BusErrorCode.NOCONN, "closed"));
      closed.resolve(error);
    };
    this.watches.push({
      path,
      get open() {
        return open;
      },
      accept: () => accepted.resolve(),
      write: onWrite,
      end,
    });
    return { accepted: accepted.promise, closed: closed.promise, close: () => end() };
  }
}

/** Nobody listens on the socket. */
export const noService = new BusError(
  BusErrorCode.NOCONN,
  "Cannot connect to /bus/gg_config: refused",
);

/** Lets everything run that waits for promises alone. */
export async function turn(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 0));
}
