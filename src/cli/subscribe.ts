import { type Bytes, concat, utf8 } from "../base/bytes.ts";
import { Exit, type Exit as ExitCode, ExitError } from "../base/errors.ts";
import { reconnectDelay } from "../base/backoff.ts";
import { sleep, systemClock } from "../base/clock.ts";
import { type Client, connect, type Message, type Messages } from "../client/client.ts";
import { checkFilter, matches } from "../topic/filter.ts";
import { type Parsed, usage } from "./args.ts";
import { MOSQUITTO_OPTIONS } from "./foreign.ts";
import { parseFormat } from "./message_format.ts";
import { type Format, jsonLine, Output, plainLine, verboseLine } from "./output.ts";
import {
  checked,
  connectTool,
  numberOf,
  onInterrupt,
  QOS_OPTION,
  qosOf,
  socketOf,
  textOf,
  type Tool,
  TOOL_OPTIONS,
} from "./tool.ts";
import { warn } from "./output.ts";
import { cannotWrite, exitNotes, toolError } from "./tool_errors.ts";

/** `iotcored subscribe`. */
export const SUBSCRIBE: Tool = {
  command: {
    name: "subscribe",
    summary: "Prints messages that arrive, one a line, as mosquitto_sub does.",
    usage: ["subscribe -t FILTER [-t FILTER]... [-q 0|1] [-C COUNT] [-W SECONDS] [-v] [--json]"],
    options: [
      {
        option: "topic",
        short: "t",
        value: "FILTER",
        anyText: true,
        repeats: true,
        help: "a topic filter; may be given several times",
      },
      QOS_OPTION,
      { option: "count", short: "C", value: "COUNT", help: "end after so many messages" },
      {
        option: "timeout",
        short: "W",
        value: "SECONDS",
        help: "end after so long, with exit code 27",
      },
      {
        option: "filter-out",
        short: "T",
        value: "FILTER",
        repeats: true,
        help: "do not print messages of this topic filter; may be given several times",
      },
      {
        option: "follow",
        help: "wait for a daemon that is not there yet, as for one that went away",
      },
      { option: "exit-subscribed", short: "E", help: "end when the subscription is accepted" },
      { option: "no-newline", short: "N", help: "print no newline behind a message" },
      {
        option: "format",
        short: "F",
        value: "FORMAT",
        anyText: true,
        help: "print this text for a message, in which %t is the topic and %p the payload",
      },
      { option: "verbose", short: "v", help: "print the topic before each payload" },
      {
        option: "json",
        help: "print JSON objects: time, topic, and payload, or payload_base64 if it is not UTF-8",
      },
      ...TOOL_OPTIONS,
    ],
    foreign: MOSQUITTO_OPTIONS,
    notes: [
      "In a FORMAT: %t topic, %p payload, %x payload in hexadecimal, %l its length in bytes, %U time of",
      "arrival in seconds since 1970, %I the same in ISO 8601, %j the message as JSON, %J the same with",
      "the payload as JSON, %% a percent sign; \\n \\t \\r \\e \\0 \\\\ as in C. The core bus carries neither the",
      "QoS (%q) nor the retain flag (%r) of a message.",
      "",
      "Payloads are printed as they are, each with a newline behind it. When the daemon restarts, the",
      "subscription is made again; what arrived meanwhile is missed, and standard error says so.",
      "",
      ...exitNotes([Exit.TIMED_OUT, "the time of -W was over first"]),
    ],
    examples: [
      ["iotcored subscribe -t 'sensors/#' -v", "everything below sensors, with topics"],
      ["iotcored subscribe -t jobs/next -C 1 -W 10", "wait for one message, 10 s at most"],
      ["iotcored subscribe -t 'sensors/+' --json | jq .payload", "for other programs"],
    ],
  },
  run: subscribe,
};

async function subscribe(parsed: Parsed): Promise<ExitCode> {
  const filters = parsed.values.get("topic") ?? [];
  if (filters.length === 0) throw usage("option --topic is required", "subscribe");
  for (const filter of filters) checked("topic", filter, checkFilter);
  const count = numberOf(parsed, "count", 1, Number.MAX_SAFE_INTEGER);
  const seconds = numberOf(parsed, "timeout", 1, 2_147_483);
  const format = formatOf(parsed);
  const unwanted = (parsed.values.get("filter-out") ?? [])
    .map((filter) => checked("filter-out", filter, checkFilter));
  const qos = qosOf(parsed);
  const socket = socketOf(parsed);
  await using client = parsed.values.has("follow")
    ? await awaitDaemon(socket)
    : await connectTool(socket);
  const messages = client.subscribe(filters, {
    qos,
    onLost: () =>
      warn(`the daemon at ${client.socket} hung up; messages are missed until it is back`),
    onBack: () => warn("subscribed again"),
  });
  return await printMessages(client, messages, {
    format,
    count: parsed.values.has("exit-subscribed") ? 0 : count ?? Infinity,
    seconds,
    isWanted: ({ topic }) => !unwanted.some((filter) => matches(filter, topic)),
  });
}

/** Connects as soon as there is a daemon; a signal ends the program meanwhile, as any that waits. */
async function awaitDaemon(socket: string): Promise<Client> {
  for (let attempt = 0;; attempt++) {
    try {
      return await connect({ socket });
    } catch (error) {
      const known = toolError(error, socket);
      if (!(known instanceof ExitError) || known.exit !== Exit.UNAVAILABLE) throw known;
      if (attempt === 0) warn(`${known.message}; waiting for it`);
      await sleep(systemClock, reconnectDelay(attempt, Math.random()));
    }
  }
}

function formatOf(parsed: Parsed): Format {
  const template = textOf(parsed, "format");
  const ways = ["verbose", "json", "format"].filter((name) => parsed.values.has(name));
  if (ways.length > 1) {
    const names = ways.map((name) => `--${name}`).join(" and ");
    throw usage(`options ${names} cannot be used together`, "subscribe");
  }
  const line = template !== undefined
    ? templateLine(template)
    : ways[0] === "json"
    ? (message: Message): Bytes => jsonLine(message)
    : ways[0] === "verbose"
    ? verboseLine
    : plainLine;
  return parsed.values.has("no-newline") ? (message) => line(message).subarray(0, -1) : line;
}

function templateLine(template: string): Format {
  try {
    const format = parseFormat(template);
    return (message) => concat([format(message, Date.now()), utf8("\n")]);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new ExitError(
      Exit.USAGE,
      `Cannot use --format ${JSON.stringify(template)}: ${error.message}`,
    );
  }
}

/** What is printed, and until when. */
interface Printing {
  readonly format: Format;
  /** End after so many messages; 0: when the subscription is accepted. */
  readonly count: number;
  readonly seconds: number | undefined;
  readonly isWanted: (message: Message) => boolean;
}

async function printMessages(
  client: Client,
  messages: Messages,
  { format, count, seconds, isWanted }: Printing,
): Promise<ExitCode> {
  let exit: ExitCode = Exit.OK;
  let failure: ExitError | undefined;
  const output = new Output(Deno.stdout, (error) => {
    // Nobody reads any more, as after `| head`.
    if (!(error instanceof Deno.errors.BrokenPipe)) failure = cannotWrite(error);
    void messages.close();
  });
  using _interrupt = onInterrupt(() => void messages.close());
  const timer = seconds === undefined ? undefined : setTimeout(() => {
    exit = Exit.TIMED_OUT;
    void messages.close();
  }, seconds * 1_000);
  try {
    let printed = 0;
    await messages.accepted;
    if (count === 0) await messages.close();
    for await (const message of messages) {
      if (!isWanted(message)) continue;
      await output.put(format(message));
      if (++printed >= count) break;
    }
  } catch (error) {
    throw toolError(error, client.socket);
  } finally {
    clearTimeout(timer);
    await output.flush();
  }
  if (failure !== undefined) throw failure;
  return exit;
}
