import { MAX_PAYLOAD_BYTES } from "../aws/limits.ts";
import { type Bytes, concat } from "../base/bytes.ts";
import { sleep, systemClock } from "../base/clock.ts";
import { Exit, type Exit as ExitCode, ExitError, messageOf } from "../base/errors.ts";
import type { PublishOptions } from "../client/client.ts";
import { checkTopic } from "../topic/filter.ts";
import { type Parsed, usage } from "./args.ts";
import { MOSQUITTO_OPTIONS } from "./foreign.ts";
import { Progress } from "./progress.ts";
import { pieces, publishLines, type Source } from "./publish_lines.ts";
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
import { exitNotes, toolError } from "./tool_errors.ts";

/** `iotcored publish`. */
export const PUBLISH: Tool = {
  command: {
    name: "publish",
    summary: "Publishes messages through the daemon, as mosquitto_pub does.",
    usage: [
      "publish -t TOPIC (-m TEXT | -f FILE | -l | -s) [-q 0|1] [options]",
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
      {
        option: "stdin-file",
        short: "s",
        help: "publish all of standard input as one message",
      },
      QOS_OPTION,
      {
        option: "repeat",
        value: "COUNT",
        help: "publish the message so often; not for lines",
      },
      {
        option: "repeat-delay",
        value: "SECONDS",
        help: "wait so long between two of them; may have a fraction [0]",
      },
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
    foreign: MOSQUITTO_OPTIONS,
    notes: [
      "With -l lines are sent ahead of their answers. One that is refused is named on standard error,",
      "and the rest goes on; the exit code is that of the first. A daemon that is gone is waited for,",
      "30 s at most.",
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
  const sources = ["message", "file", "stdin-line", "stdin-file"].filter((name) =>
    parsed.values.has(name)
  );
  if (sources.length !== 1) {
    throw usage(
      "exactly one of --message, --file, --stdin-line and --stdin-file is needed",
      "publish",
    );
  }
  const options = publishOptions(parsed);
  const repeat = repeatOf(parsed);
  const socket = socketOf(parsed);
  const payload = await payloadOf(parsed);
  await using client = await connectTool(socket);
  if (payload === undefined) return await publishLines(client, topic, options);
  const stopped = new AbortController();
  using _interrupt = onInterrupt(() => stopped.abort());
  let done = 0;
  using _progress = repeat.count > 1
    ? new Progress(Deno.stderr, () => ({ done, waiting: 1 }))
    : undefined;
  try {
    for (let n = 0; n < repeat.count && !stopped.signal.aborted; n++) {
      if (n > 0) await sleep(systemClock, repeat.delayMs, stopped.signal);
      if (!stopped.signal.aborted) await client.publish(topic, payload, options);
      done++;
    }
    return Exit.OK;
  } catch (error) {
    throw toolError(error, socket);
  }
}

/** How often the message is published, and how long is waited between, in ms. */
function repeatOf(parsed: Parsed): { readonly count: number; readonly delayMs: number } {
  const count = numberOf(parsed, "repeat", 1, Number.MAX_SAFE_INTEGER);
  const delay = textOf(parsed, "repeat-delay");
  if ((count ?? delay) !== undefined && parsed.values.has("stdin-line")) {
    throw usage("options --repeat and --repeat-delay cannot be used with --stdin-line", "publish");
  }
  if (delay !== undefined && (!/^\d{1,7}(\.\d{1,9})?$/.test(delay) || Number(delay) > 2_147_483)) {
    throw new ExitError(
      Exit.USAGE,
      `Cannot use --repeat-delay: it must be seconds from 0 to 2147483, got ${
        JSON.stringify(delay)
      }`,
    );
  }
  return { count: count ?? 1, delayMs: Number(delay ?? 0) * 1_000 };
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

/** The payload, unless lines are to be published. */
async function payloadOf(parsed: Parsed): Promise<string | Bytes | undefined> {
  if (parsed.values.has("stdin-file")) return await readWhole("standard input", Deno.stdin);
  const path = textOf(parsed, "file");
  if (path === undefined) return textOf(parsed, "message");
  using file = await openFile(path);
  return await readWhole(path, file);
}

async function openFile(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path);
  } catch (error) {
    // The compiled program may read no more than the daemon needs.
    const hint = error instanceof Deno.errors.NotCapable ? `; use --stdin-file < ${path}` : "";
    throw new ExitError(Exit.NOINPUT, `Cannot read ${path}: ${messageOf(error)}${hint}`);
  }
}

async function readWhole(name: string, source: Source): Promise<Bytes> {
  const parts: Bytes[] = [];
  let length = 0;
  try {
    for await (const part of pieces(source)) {
      parts.push(part.slice());
      length += part.length;
      if (length > MAX_PAYLOAD_BYTES) break;
    }
  } catch (error) {
    throw new ExitError(Exit.NOINPUT, `Cannot read ${name}: ${messageOf(error)}`);
  }
  if (length <= MAX_PAYLOAD_BYTES) return concat(parts);
  throw new ExitError(
    Exit.DATAERR,
    `Cannot publish ${name}: it must be at most ${MAX_PAYLOAD_BYTES} bytes`,
  );
}
