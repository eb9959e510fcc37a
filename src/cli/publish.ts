import { type Bytes, concat } from "../base/bytes.ts";
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
import { checkTopic } from "../topic/filter.ts";
import { type Parsed, usage } from "./args.ts";
import { LineSplitter, LookAhead } from "./publish_lines.ts";
import {
  checked,
  connectTool,
  exitNotes,
  numberOf,
  QOS_OPTION,
  qosOf,
  socketOf,
  textOf,
  type Tool,
  TOOL_OPTIONS,
  toolError,
  warn,
} from "./tools.ts";

/** Payload of one message, in bytes (AWS IoT Core quotas). */
const MAX_PAYLOAD_BYTES = 131_072;

/** Lines under way at once, and their bytes. */
const LOOK_AHEAD = { count: 256, bytes: 1_048_576 } as const;

/** The same when each waits for the broker: after a refusal those behind it are sent again. */
const BROKER_LOOK_AHEAD = { count: 16, bytes: 1_048_576 } as const;

/** Refused lines that are named one by one. */
const NAMED_LINES = 10;

/** Bytes that are read from a file or from standard input at once. */
const READ_BYTES = 65_536;

/** `iotcored publish`. */
export const PUBLISH: Tool = {
  command: {
    name: "publish",
    summary: "Publishes messages through the daemon, as mosquitto_pub does.",
    usage: [
      "publish -t TOPIC (-m TEXT | -f FILE | -l) [-q 0|1] [--ack broker] [--message-expiry S]",
    ],
    options: [
      { option: "topic", short: "t", value: "TOPIC", anyText: true, help: "the topic" },
      { option: "message", short: "m", value: "TEXT", anyText: true, help: "publish this text" },
      { option: "file", short: "f", value: "FILE", help: "publish the bytes of this file" },
      {
        option: "stdin-line",
        short: "l",
        help: "publish each line of standard input as a message, in order",
      },
      QOS_OPTION,
      {
        option: "ack",
        value: "accepted|broker",
        help: "wait until the daemon, or the broker, has it [accepted]",
      },
      {
        option: "message-expiry",
        value: "S",
        help: "do not deliver the message when it is older, in seconds",
      },
      ...TOOL_OPTIONS,
    ],
    notes: [
      "With -l lines are sent ahead of their answers. One that is refused is named on standard error and the",
      "rest goes on; the exit code is that of the first. A daemon that is gone is waited for, 30 s at most.",
      "",
      ...exitNotes(
        [
          Exit.DATAERR,
          "a message that AWS IoT Core does not take, such as one of over 131,072 bytes",
        ],
        [Exit.NOINPUT, "the file or standard input cannot be read"],
      ),
    ],
    examples: [
      ["iotcored publish -t sensors/temp -m 21.5", "once, if there is a connection"],
      [
        "iotcored publish -t sensors/temp -m 21.5 -q 1",
        "kept by the daemon until the broker has it",
      ],
      [
        "iotcored publish -t images/door -f door.jpg -q 1 --ack broker",
        "done when the broker has it",
      ],
      ["sensor | iotcored publish -t sensors/temp -l -q 1", "line after line"],
    ],
  },
  run: publish,
};

async function publish(parsed: Parsed): Promise<ExitCode> {
  const topic = textOf(parsed, "topic");
  if (topic === undefined) throw usage("option --topic is required", "publish");
  checked("topic", topic, checkTopic);
  const sources = ["message", "file", "stdin-line"].filter((name) => parsed.values.has(name));
  if (sources.length !== 1) {
    throw usage("exactly one of --message, --file and --stdin-line is needed", "publish");
  }
  const options = publishOptions(parsed);
  const socket = socketOf(parsed);
  const file = textOf(parsed, "file");
  const payload = file === undefined ? textOf(parsed, "message") : await readWhole(file);
  await using client = await connectTool(socket);
  if (payload === undefined) return await publishLines(client, topic, options);
  try {
    await client.publish(topic, payload, options);
    return Exit.OK;
  } catch (error) {
    throw toolError(error, socket);
  }
}

function publishOptions(parsed: Parsed): PublishOptions {
  const qos = qosOf(parsed);
  const ack = textOf(parsed, "ack") ?? "accepted";
  if (ack !== "accepted" && ack !== "broker") {
    throw usage("option --ack must be accepted or broker", "publish");
  }
  if (ack === "broker" && qos === 0) throw usage("option --ack broker needs --qos 1", "publish");
  const messageExpiry = numberOf(parsed, "message-expiry", 1, 0xffff_ffff);
  const options: PublishOptions = ack === "broker" ? { qos, ack } : { qos };
  return messageExpiry === undefined ? options : { ...options, messageExpiry };
}

async function readWhole(path: string): Promise<Bytes> {
  const parts: Bytes[] = [];
  let length = 0;
  try {
    using file = await Deno.open(path);
    for await (const part of pieces(file)) {
      parts.push(part.slice());
      length += part.length;
      if (length > MAX_PAYLOAD_BYTES) break;
    }
  } catch (error) {
    throw new ExitError(Exit.NOINPUT, `Cannot read ${path}: ${messageOf(error)}`);
  }
  if (length <= MAX_PAYLOAD_BYTES) return concat(parts);
  throw new ExitError(
    Exit.DATAERR,
    `Cannot publish ${path}: it must be at most ${MAX_PAYLOAD_BYTES} bytes`,
  );
}

/** What can be read, in pieces; each lives until the next one. */
async function* pieces(
  source: { read(into: Uint8Array): Promise<number | null> },
): AsyncGenerator<Bytes> {
  const buffer = new Uint8Array(READ_BYTES);
  while (true) {
    const count = await source.read(buffer);
    if (count === null) return;
    yield buffer.subarray(0, count);
  }
}

async function publishLines(
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
