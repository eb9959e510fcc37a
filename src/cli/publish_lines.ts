import { MAX_PAYLOAD_BYTES } from "../aws/limits.ts";
import { type Bytes, concat } from "../base/bytes.ts";
import {
  BusError,
  BusErrorCode,
  Exit,
  type Exit as ExitCode,
  ExitError,
  messageOf,
} from "../base/errors.ts";
import { NoServerError } from "../bus/client.ts";
import type { Client, PublishOptions } from "../client/client.ts";
import { warn } from "./output.ts";
import { type Figures, Progress } from "./progress.ts";
import { toolError } from "./tool_errors.ts";

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
  using _progress = new Progress(Deno.stderr, () => lines.figures);
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

  /** What was answered and what waits, for who looks on. */
  get figures(): Figures {
    const waiting = this.#ahead.count;
    return { done: this.#number - waiting, waiting };
  }

  /** Starts to publish a line, once few enough are under way. Throws when the daemon does not come back. */
  async publish(line: Bytes | undefined): Promise<void> {
    const number = ++this.#number;
    if (line === undefined) {
      const text = `Cannot publish: line must be at most ${MAX_PAYLOAD_BYTES} bytes`;
      return this.#onRefused(number, new BusError(BusErrorCode.RANGE, text));
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

const NEWLINE = 0x0a;

/** Splits what comes in pieces into lines, without their newlines; of a line that is too long only that is kept. */
export class LineSplitter {
  readonly #maxBytes: number;
  #parts: Bytes[] = [];
  #bytes = 0;
  #begun = false;

  /** @param maxBytes The longest line. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The lines that end in this piece, which is copied; `undefined` for one that is too long. */
  *push(piece: Bytes): Generator<Bytes | undefined> {
    for (let at = 0; at < piece.length;) {
      const end = piece.indexOf(NEWLINE, at);
      this.#add(piece.slice(at, end < 0 ? piece.length : end));
      if (end < 0) return;
      yield this.#take();
      at = end + 1;
    }
  }

  /** The last line, if it has no newline. */
  *finish(): Generator<Bytes | undefined> {
    if (this.#begun) yield this.#take();
  }

  #add(part: Bytes): void {
    this.#begun = true;
    this.#bytes += part.length;
    if (this.#bytes > this.#maxBytes) this.#parts = [];
    else if (part.length > 0) this.#parts.push(part);
  }

  #take(): Bytes | undefined {
    const line = this.#bytes > this.#maxBytes ? undefined : concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    this.#begun = false;
    return line;
  }
}

/** How much may be under way at once. */
export class LookAhead {
  readonly #most: { readonly count: number; readonly bytes: number };
  #count = 0;
  #bytes = 0;
  #changed: (() => void) | undefined;

  /** @param most One of more than `bytes` may still go alone. */
  constructor(most: { readonly count: number; readonly bytes: number }) {
    this.#most = most;
  }

  /** How many are under way. */
  get count(): number {
    return this.#count;
  }

  /** Counts one that starts. */
  start(bytes: number): void {
    this.#count++;
    this.#bytes += bytes;
  }

  /** Counts one that is done. */
  done(bytes: number): void {
    this.#count--;
    this.#bytes -= bytes;
    this.#changed?.();
  }

  /** Resolves when there is room for one more of `bytes`. One waits at a time. */
  room(bytes: number): Promise<void> | undefined {
    return this.#until(() =>
      this.#count === 0 ||
      (this.#count < this.#most.count && this.#bytes + bytes <= this.#most.bytes)
    );
  }

  /** Resolves when nothing is under way. */
  empty(): Promise<void> | undefined {
    return this.#until(() => this.#count === 0);
  }

  #until(holds: () => boolean): Promise<void> | undefined {
    if (holds()) return undefined;
    return new Promise((resolve) => {
      this.#changed = () => {
        if (!holds()) return;
        this.#changed = undefined;
        resolve();
      };
    });
  }
}
