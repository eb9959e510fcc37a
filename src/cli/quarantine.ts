import type { Exit as ExitCode } from "../base/errors.ts";
import type { Client, QuarantinedMessage } from "../client/client.ts";
import { grouped, visible } from "../status/page.ts";
import { type Parsed, usage } from "./args.ts";
import { print } from "./output.ts";
import { connectTool, socketOf, type Tool, TOOL_OPTIONS } from "./tool.ts";
import { exitNotes, toolError } from "./tool_errors.ts";

const ACTIONS = ["list", "retry", "drop"] as const;

/** `iotcored quarantine`. */
export const QUARANTINE: Tool = {
  command: {
    name: "quarantine",
    summary: "Shows, sends or drops messages that are kept because the broker closes for them.",
    usage: ["quarantine list [--json]", "quarantine retry|drop (SEQ... | --all)"],
    words: ACTIONS,
    options: [
      { option: "json", help: "list: print a JSON object a line" },
      { option: "all", help: "retry, drop: everything that is in quarantine" },
      ...TOOL_OPTIONS,
    ],
    notes: [
      "A message that is sent again goes alone: when the broker closes the connection for it once",
      "more, it is back in quarantine.",
      "",
      ...exitNotes(),
    ],
    examples: [
      ["iotcored quarantine list", "number, topic, size and reason of each message"],
      ["iotcored quarantine retry 17 18", "when the policy was changed"],
      ["iotcored quarantine drop --all", "when they are not worth sending"],
    ],
  },
  run: quarantine,
  takesWords: true,
};

async function quarantine(parsed: Parsed): Promise<ExitCode> {
  const [action, ...words] = parsed.words;
  if (action === undefined || !isAction(action)) {
    throw usage(`quarantine needs list, retry or drop, got ${action ?? "nothing"}`, "quarantine");
  }
  const chosen = action === "list" ? nothing(parsed, words) : seqsOf(parsed, action, words);
  if (action !== "list" && parsed.values.has("json")) {
    throw usage(`option --json cannot be used with ${action}`, "quarantine");
  }
  await using client = await connectTool(socketOf(parsed));
  try {
    if (action === "list") return await list(client, parsed.values.has("json"));
    const count = action === "retry"
      ? await client.retryQuarantined(chosen)
      : await client.dropQuarantined(chosen);
    const done = action === "retry" ? "to be sent again" : "dropped";
    return print(`${grouped(count)} ${count === 1 ? "message" : "messages"} ${done}\n`);
  } catch (error) {
    throw toolError(error, client.socket);
  }
}

async function list(client: Client, json: boolean): Promise<ExitCode> {
  const messages = await client.quarantined();
  const lines = messages.map((message) => json ? JSON.stringify(message) : line(message));
  return print(lines.map((line) => line + "\n").join(""));
}

function line({ seq, topic, bytes, reason }: QuarantinedMessage): string {
  return `${seq}   ${visible(topic)}   ${grouped(bytes)} bytes   ${visible(reason)}`;
}

function isAction(word: string): word is typeof ACTIONS[number] {
  return (ACTIONS as readonly string[]).includes(word);
}

function nothing(parsed: Parsed, words: readonly string[]): undefined {
  if (words.length > 0) throw usage(`unexpected argument ${words[0]}`, "quarantine");
  if (parsed.values.has("all")) throw usage("option --all cannot be used with list", "quarantine");
  return undefined;
}

/** The numbers of messages; `undefined` for all. Throws 64. */
function seqsOf(
  parsed: Parsed,
  action: string,
  words: readonly string[],
): readonly number[] | undefined {
  if (parsed.values.has("all") === words.length > 0) {
    throw usage(`quarantine ${action} needs either numbers of messages or --all`, "quarantine");
  }
  if (words.length === 0) return undefined;
  return words.map((word) => {
    if (/^[1-9][0-9]{0,14}$/.test(word)) return Number(word);
    throw usage(
      `the number of a message must be a whole number from 1, got ${JSON.stringify(word)}`,
      "quarantine",
    );
  });
}
