import { MAX_PAYLOAD_BYTES } from "../aws/limits.ts";
import type { Bytes } from "../base/bytes.ts";
import {
  BusError,
  Code,
  Exit,
  type Exit as ExitCode,
  ExitError,
  messageOf,
} from "../base/errors.ts";
import { NoServerError } from "../bus/client.ts";
import type { Client, PublishOptions } from "../client/client.ts";
import { LineSplitter, LookAhead } from "./publish_lines.ts";
import { toolError, warn } from "./tools.ts";

/** Lines under way at once, and their bytes. */
const LOOK_AHEAD = { count: 256, bytes: 1_048_576 } as const;

/** The same when each waits for the broker: after a refusal those behind it are sent again. */
const BROKER_LOOK_AHEAD = { count: 16, bytes: 1_048_576 } as const;

/** Refused lines that are named one by one. */
const NAMED_LINES = 10;

/** Bytes that are read from a file or from standard input at once. */
const READ_BYTES = 65_536;

/** What bytes are read from. */
export interface Source {
  read(into: Uint8Array): Promise<number | null>;
}

/** What can be read, in pieces; each lives until the next one. */
export async function* pieces(source: Source): AsyncGenerator<Bytes> {
  const buffer = new Uint8Array(READ_BYTES);
  while (true) {
    const count = await source.read(buffer);
    if (count === null) return;
    yield buffer.subarray(0, count);
  }
}

/** Publishes each line of standard input, ahead of the answers; the exit code is that of the first refusal. */
export async function publishLines(
  client: Client,
  topic: string,
  options: PublishOptions,
): Promise<ExitCode> {
  const lines = new Lines(client, topic, options);
  const splitter = new LineSplitter(MAX_PAYLOAD_BYTES);
  for await (const piece of stdinPieces()) {
    for (const line of splitter.push(piece)) await lines.publish(line);
  }
  for (const line of splitter.finish()) await lines.publish(line);
  return await lines.end();
}

async function* stdinPieces(): AsyncGenerator<Bytes> {
  try {
    yield* pieces(Deno.stdin);
  } catch (error) {
    throw new ExitError(Exit.NOINPUT, `Cannot read standard input: ${messageOf(error)}`);
  }
}

/** Publishes lines ahead of their answers and keeps account of those that were refused. */
class Lines {
  readonly #client: Client;
  readonly #topic: string;
  readonly #options: PublishOptions;
  readonly #ahead: LookAhead;
  #number = 0;
  #refused = 0;
  #exit: ExitCode = Exit.OK;
  #fatal: unknown;

  constructor(client: Client, topic: string, options: PublishOptions) {
    this.#client = client;
    this.#topic = topic;
    this.#options = options;
    this.#ahead = new LookAhead(options.ack === "broker" ? BROKER_LOOK_AHEAD : LOOK_AHEAD);
  }

  /** Starts to publish a line, once few enough are under way. Throws when the daemon does not come back. */
  async publish(line: Bytes | undefined): Promise<void> {
    const number = ++this.#number;
    if (line === undefined) {
      const text = `Cannot publish: line must be at most ${MAX_PAYLOAD_BYTES} bytes`;
      return this.#onRefused(number, new BusError(Code.RANGE, text));
    }
    await this.#ahead.room(line.length);
    this.#check();
    this.#ahead.start(line.length);
    const done = (): void => this.#ahead.done(line.length);
    this.#client.publish(this.#topic, line, this.#options).then(done, (error) => {
      this.#onRefused(number, error);
      done();
    });
  }

  /** Waits for the answers. */
  async end(): Promise<ExitCode> {
    await this.#ahead.empty();
    this.#check();
    if (this.#refused > NAMED_LINES) warn(`${this.#refused} lines were refused in all`);
    return this.#exit;
  }

  #check(): void {
    if (this.#fatal !== undefined) throw this.#fatal;
  }

  #onRefused(line: number, error: unknown): void {
    const known = toolError(error, this.#client.socket);
    const isGone = error instanceof NoServerError && error.cause !== undefined;
    if (!(known instanceof ExitError) || isGone) {
      this.#fatal ??= known instanceof ExitError
        ? new ExitError(
          known.exit,
          `line ${line} and those after it are not published: ${known.message}`,
        )
        : known;
      return;
    }
    if (this.#exit === Exit.OK) this.#exit = known.exit;
    if (++this.#refused <= NAMED_LINES) warn(`line ${line} is refused: ${known.message}`);
  }
}
