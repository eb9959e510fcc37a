import { type Bytes, concat, fromUtf8, utf8 } from "../base/bytes.ts";
import { Exit, type Exit as ExitCode } from "../base/errors.ts";
import type { Message } from "../client/client.ts";
import { cannotWrite } from "./tool_errors.ts";

/** Bytes that are gathered before they are written at once. */
const FLUSH_BYTES = 65_536;

/** How long a full pipe that somebody made non-blocking is left alone, in ms. */
const RETRY_MS = 20;

const NEWLINE = utf8("\n");

/** How a message looks on standard output. */
export type Format = (message: Message) => Bytes;

/** The bytes of the payload as they are, and a newline, as `mosquitto_sub` writes them. */
export function plainLine({ payload }: Message): Bytes {
  return concat([payload, NEWLINE]);
}

/** The topic, a space and the payload, as `mosquitto_sub -v` writes them. */
export function verboseLine({ topic, payload }: Message): Bytes {
  return payload.length === 0
    ? utf8(`${topic} (null)\n`)
    : concat([utf8(`${topic} `), payload, NEWLINE]);
}

/** A JSON object with the time of arrival; a payload that is not UTF-8 is in `payload_base64`. */
export function jsonLine({ topic, payload }: Message, now: number = Date.now()): Bytes {
  const time = new Date(now).toISOString();
  const text = fromUtf8(payload);
  const content = text === undefined ? { payload_base64: payload.toBase64() } : { payload: text };
  return utf8(JSON.stringify({ time, topic, ...content }) + "\n");
}

/** Where an {@linkcode Output} writes. */
export interface Sink {
  write(bytes: Uint8Array): Promise<number>;
}

/** Gathers what is written in one turn, and writes it at once. */
export class Output {
  readonly #sink: Sink;
  readonly #onError: (error: unknown) => void;
  #parts: Bytes[] = [];
  #bytes = 0;
  #writing: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failed = false;

  /** @param onError Called once when the sink takes nothing more; what is put after that is dropped. */
  constructor(sink: Sink, onError: (error: unknown) => void) {
    this.#sink = sink;
    this.#onError = onError;
  }

  /** Writes soon; the promise is that of room for more, when much waits. */
  put(bytes: Bytes): Promise<void> | undefined {
    if (this.#failed) return undefined;
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes >= FLUSH_BYTES) return this.flush();
    this.#timer ??= setTimeout(() => void this.flush(), 0);
    return undefined;
  }

  /** Resolves when everything was written or dropped. Never rejects. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#writing !== undefined || this.#parts.length > 0) {
      await (this.#writing ??= this.#write());
    }
  }

  async #write(): Promise<void> {
    let bytes = concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    try {
      while (bytes.length > 0) bytes = bytes.subarray(await this.#writePart(bytes));
    } catch (error) {
      this.#failed = true;
      this.#parts = [];
      this.#onError(error);
    }
    this.#writing = undefined;
  }

  async #writePart(bytes: Bytes): Promise<number> {
    try {
      return await this.#sink.write(bytes);
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      return 0;
    }
  }
}

/** Prints on stdout. */
export function print(text: string): ExitCode {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw cannotWrite(error);
  }
  return Exit.OK;
}

/** One line on stderr. */
export function warn(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`iotcored: ${text}\n`));
}
