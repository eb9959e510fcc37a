import { utf8 } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import { call, type MethodTable, subscribe, type Subscriber } from "../../src/bus/methods.ts";
import { bufferList } from "../../src/bus/params.ts";
import { type BusServer, startServer } from "../../src/bus/server.ts";
import { CONFIG_PREFIX } from "../../src/config/settings.ts";
import { encodeValueFrame } from "../../src/wire/frame.ts";
import type { Value } from "../../src/wire/object.ts";
import { fakeLog } from "./fake_log.ts";
import type { PkiFiles } from "./pki.ts";

/** What a test writes into the config: text stands for a buffer. */
export type ConfigValue = Value | string;

interface Watcher {
  readonly path: string;
  readonly subscriber: Subscriber;
}

/** A stand-in for the config service of the Greengrass nucleus; it listens on `<bus-dir>/gg_config`. */
export class GgConfig implements AsyncDisposable {
  /** The path of each read, in order. */
  readonly reads: string[] = [];
  /** Most reads under way at once. */
  mostReads = 0;
  /** Refuses the reads of some paths with a code. */
  readError: (path: string) => BusErrorCode | undefined = () => undefined;
  /** Does not answer the reads that it does not refuse. */
  silent = false;
  readonly #values = new Map<string, Value>();
  readonly #watchers = new Set<Watcher>();
  #server: BusServer | undefined;
  #underWay = 0;

  constructor(readonly busDir: string) {}

  /** The subscriptions that there are, by path. */
  get watched(): string[] {
    return [...this.#watchers].map(({ path }) => path).sort();
  }

  /** Begins to listen. */
  async start(): Promise<void> {
    const table = this.#table();
    this.#server = await startServer({
      path: `${this.busDir}/gg_config`,
      table,
      log: fakeLog(),
      clock: systemClock,
    });
  }

  /** Begins an outage: every connection is closed and the socket goes. What is stored stays. */
  async stop(): Promise<void> {
    await this.#server?.close(0);
    this.#server = undefined;
  }

  /** Writes a value; a key without a slash, or below `mqtt/` or `networkProxy/`, is one of the daemon's configuration. */
  set(key: string, value: ConfigValue): void {
    const path = fullPath(key);
    this.#values.set(path, typeof value === "string" ? utf8(value) : value);
    const frame = encodeValueFrame(path.split("/").map((part) => utf8(part)));
    for (const watcher of this.#watchers) {
      if (isBelow(path, watcher.path)) watcher.subscriber.send(frame);
    }
  }

  /** Takes a value away without telling anyone, as the service does. */
  remove(key: string): void {
    this.#values.delete(fullPath(key));
  }

  /** Closes the subscriptions and nothing else. */
  dropWatches(): void {
    for (const { subscriber } of [...this.#watchers]) subscriber.close("dropped by the test");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #table(): MethodTable {
    return {
      read: call({ key_path: bufferList }, async ({ key_path }) => {
        const path = textOf(key_path);
        this.reads.push(path);
        this.mostReads = Math.max(this.mostReads, ++this.#underWay);
        // A turn, so that reads that come together are seen together.
        await new Promise((resolve) => setTimeout(resolve, 1));
        this.#underWay--;
        const code = this.readError(path);
        if (code !== undefined) throw new BusError(code, "told by the test");
        if (this.silent) return await new Promise<Value>(() => {});
        return this.#read(path);
      }),
      subscribe: subscribe({ key_path: bufferList }, ({ key_path }, subscriber) => {
        const path = textOf(key_path);
        this.#read(path);
        const watcher = { path, subscriber };
        this.#watchers.add(watcher);
        subscriber.onClose(() => this.#watchers.delete(watcher));
        subscriber.accept();
      }),
    };
  }

  #read(path: string): Value {
    const value = this.#values.get(path);
    if (value !== undefined) return value;
    const below = [...this.#values.keys()].some((key) => isBelow(key, path));
    if (!below) throw new BusError(BusErrorCode.NOENTRY, "no such key");
    return new Map();
  }
}

/** Starts a config service that has everything a daemon needs, or what the test gives instead. */
export async function startGgConfig(
  busDir: string,
  values: Readonly<Record<string, ConfigValue>> = {},
): Promise<GgConfig> {
  const config = new GgConfig(busDir);
  for (const [key, value] of Object.entries(values)) config.set(key, value);
  await config.start();
  return config;
}

/** The required values, for a broker and credentials. */
export function requiredValues(
  broker: { readonly host: string; readonly port: number },
  files: PkiFiles,
): Record<string, ConfigValue> {
  return {
    "iotDataEndpoint": `${broker.host}:${broker.port}`,
    "system/thingName": "thing",
    "system/rootCaPath": files.rootca,
    "system/certificateFilePath": files.cert,
    "system/privateKeyPath": files.key,
  };
}

function fullPath(key: string): string {
  return key.startsWith("system/") || key.startsWith("services/") ? key : CONFIG_PREFIX + key;
}

function isBelow(key: string, path: string): boolean {
  return key === path || key.startsWith(`${path}/`);
}

function textOf(path: readonly Uint8Array[]): string {
  return path.map((part) => new TextDecoder().decode(part)).join("/");
}
