import { Exit, type Exit as ExitCode, type ExitError } from "../base/errors.ts";
import type { Client, Messages } from "../client/client.ts";
import { checkFilter } from "../topic/filter.ts";
import { type Parsed, usage } from "./args.ts";
import { type Format, jsonLine, Output, plainLine, verboseLine } from "./output.ts";
import {
  checked,
  connectTool,
  numberOf,
  onInterrupt,
  QOS_OPTION,
  qosOf,
  socketOf,
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
      { option: "verbose", short: "v", help: "print the topic before each payload" },
      {
        option: "json",
        help: "print JSON objects: time, topic, and payload, or payload_base64 if it is not UTF-8",
      },
      ...TOOL_OPTIONS,
    ],
    notes: [
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
  const qos = qosOf(parsed);
  await using client = await connectTool(socketOf(parsed));
  const messages = client.subscribe(filters, {
    qos,
    onLost: () =>
      warn(`the daemon at ${client.socket} hung up; messages are missed until it is back`),
    onBack: () => warn("subscribed again"),
  });
  return await printMessages(client, messages, format, count ?? Infinity, seconds);
}

function formatOf(parsed: Parsed): Format {
  const verbose = parsed.values.has("verbose");
  if (!parsed.values.has("json")) return verbose ? verboseLine : plainLine;
  if (verbose) throw usage("options --verbose and --json cannot be used together", "subscribe");
  return (message) => jsonLine(message);
}

async function printMessages(
  client: Client,
  messages: Messages,
  format: Format,
  count: number,
  seconds: number | undefined,
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
    for await (const message of messages) {
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
