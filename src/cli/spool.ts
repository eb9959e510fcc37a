import { utf8 } from "../base/bytes.ts";
import { Exit, type Exit as ExitCode, ExitError, messageOf } from "../base/errors.ts";
import { type LoggedMessage, readLog } from "../spool/log/read_log.ts";
import { type Parsed, usage } from "./args.ts";
import { print } from "./output.ts";
import { textOf, type Tool } from "./tool.ts";
import { cannotWrite } from "./tool_errors.ts";

/** How many topics are named. */
const TOPICS = 10;

/** `iotcored spool`. */
export const SPOOL: Tool = {
  command: {
    name: "spool",
    summary:
      "Shows what waits in the spool folder of a daemon that is stopped, and changes nothing.",
    usage: ["spool DIR [--json] [--export FILE]"],
    words: ["DIR"],
    options: [
      { option: "json", help: "print a JSON object" },
      {
        option: "export",
        value: "FILE",
        help: "write each message as a line of JSON, its payload in base64, to a new file",
      },
      { option: "help", short: "h", help: "print this help" },
    ],
    notes: [
      "Exit codes:",
      "   0  done, damaged or not",
      "  64  wrong usage",
      "  73  no spool, or one that a daemon uses, or a file of another program or version in it",
      "  74  the output cannot be written",
    ],
    examples: [
      ["iotcored spool /var/lib/iotcored/spool", "counts, age, topics, damage"],
      [
        "iotcored spool DIR --export rescued.jsonl && jq -r .topic rescued.jsonl",
        "what is in it, for other programs",
      ],
    ],
  },
  takesWords: true,
  run: showSpool,
};

/** What is printed. */
interface Summary {
  readonly messages: number;
  readonly quarantined: number;
  readonly bytes: number;
  /** When the oldest message was accepted. */
  readonly oldest: string | null;
  readonly disk_bytes: number;
  readonly segments: number;
  readonly damage: { readonly lost: number; readonly repeated: number; readonly files: string[] };
  readonly topics: { readonly topic: string; readonly messages: number; readonly bytes: number }[];
}

async function showSpool({ values, words }: Parsed): Promise<ExitCode> {
  const [dir, surplus] = words;
  if (dir === undefined) throw usage("spool needs the folder: iotcored spool DIR", "spool");
  if (surplus !== undefined) throw usage(`unexpected argument ${surplus}`, "spool");
  const path = textOf({ values, words }, "export");
  using file = path === undefined ? undefined : create(path);
  const topics = new Map<string, { topic: string; messages: number; bytes: number }>();
  let oldest = Infinity;
  const contents = await readLog(dir, (message) => {
    const of = topics.get(message.topic) ?? { topic: message.topic, messages: 0, bytes: 0 };
    topics.set(message.topic, of);
    of.messages++;
    of.bytes += message.size;
    oldest = Math.min(oldest, message.acceptedAt);
    if (file !== undefined) write(file, exportLine(message));
  });
  const { messages, bytes, quarantined, diskBytes, segments, lost, repeated, files } = contents;
  const summary: Summary = {
    messages,
    quarantined,
    bytes,
    oldest: oldest === Infinity ? null : new Date(oldest).toISOString(),
    disk_bytes: diskBytes,
    segments,
    damage: { lost, repeated, files: [...files] },
    topics: [...topics.values()].sort((a, b) => b.messages - a.messages).slice(0, TOPICS),
  };
  return print(values.has("json") ? `${JSON.stringify(summary)}\n` : page(summary));
}

/** A message as a line: its times are those of the spool, in ms since the epoch. */
function exportLine({ seq, topic, payload, qos, acceptedAt, expiresAt, reason }: LoggedMessage) {
  return JSON.stringify({
    seq,
    topic,
    qos,
    payload_base64: payload.toBase64(),
    accepted_at: acceptedAt,
    expires_at: expiresAt,
    quarantined: reason,
  }) + "\n";
}

function page({ damage, topics, ...spool }: Summary): string {
  const { lost, repeated, files } = damage;
  const harm = files.length + lost + repeated === 0
    ? "none"
    : `${lost} messages lost, ${repeated} there again; in ${files.join(", ") || "no file"}`;
  const lines = [
    `messages       ${spool.messages}`,
    `in quarantine  ${spool.quarantined}`,
    `bytes          ${spool.bytes}`,
    `oldest         ${spool.oldest ?? "none"}`,
    `on disk        ${spool.disk_bytes} bytes in ${spool.segments} segments`,
    `damage         ${harm}`,
    ...topics.map(({ topic, messages, bytes }) =>
      `topic          ${messages} messages, ${bytes} bytes: ${JSON.stringify(topic)}`
    ),
  ];
  return lines.join("\n") + "\n";
}

function create(path: string): Deno.FsFile {
  try {
    return Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
  } catch (error) {
    const why = error instanceof Deno.errors.AlreadyExists ? "it exists" : messageOf(error);
    throw new ExitError(Exit.IOERR, `Cannot create --export ${path}: ${why}`);
  }
}

function write(file: Deno.FsFile, text: string): void {
  const bytes = utf8(text);
  try {
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
  } catch (error) {
    throw cannotWrite(error);
  }
}
