import { utf8 } from "../base/bytes.ts";
import { Exit, type Exit as ExitCode, type ExitError } from "../base/errors.ts";
import { sleep, systemClock } from "../base/clock.ts";
import { NoServerError } from "../bus/client.ts";
import { type Client, connect } from "../client/client.ts";
import type { Status } from "../status/types.ts";
import { type Parsed, usage } from "./args.ts";
import { prometheusText } from "../status/prometheus.ts";
import { dashboard, Minute } from "../status/dashboard.ts";
import { statusLine, statusPage } from "../status/page.ts";
import { Screen } from "./screen.ts";
import { Output } from "./output.ts";
import { connectTool, numberOf, onInterrupt, socketOf, type Tool, TOOL_OPTIONS } from "./tool.ts";
import { print, warn } from "./output.ts";
import { cannotWrite, exitNotes, toolError } from "./tool_errors.ts";

/** How often a daemon that is waited for is looked at, in ms. */
const POLL_MS = 250;

/** `iotcored status`. */
export const STATUS: Tool = {
  command: {
    name: "status",
    summary: "Shows how the daemon is: its connections, spool, publishes and clients.",
    usage: ["status [--watch | --wait-connected SECONDS] [--json | --prometheus]"],
    options: [
      { option: "json", help: "print a JSON object; with --watch one a line" },
      {
        option: "watch",
        help: "go on each second: in place on a terminal, else one line each",
      },
      {
        option: "wait-connected",
        value: "SECONDS",
        help: "wait so long for a daemon that is connected, and show it then",
      },
      { option: "prometheus", help: "print metrics in Prometheus's text format" },
      ...TOOL_OPTIONS,
    ],
    notes: exitNotes([Exit.NOT_CONNECTED, "the daemon is there, but not connected to the broker"]),
    examples: [
      ["iotcored status", "once"],
      ["iotcored status --watch", "each second, until Ctrl-C"],
      ["iotcored status --wait-connected 60 > /dev/null && echo ready", "in a script at boot"],
      ["iotcored status --json | jq .spool.messages", "for other programs"],
      [
        "iotcored status --prometheus > $DIR/iotcored.prom.new && mv $DIR/iotcored.prom{.new,}",
        "for the textfile collector of node_exporter, from a timer",
      ],
    ],
  },
  run: status,
};

async function status(parsed: Parsed): Promise<ExitCode> {
  const [json, watch, prometheus] = ["json", "watch", "prometheus"].map((name) =>
    parsed.values.has(name)
  );
  if (prometheus && (json || watch)) {
    throw usage("option --prometheus cannot be used with --json or --watch", "status");
  }
  const seconds = numberOf(parsed, "wait-connected", 1, 2_147_483);
  if (watch && seconds !== undefined) {
    throw usage("option --wait-connected cannot be used with --watch", "status");
  }
  const socket = socketOf(parsed);
  if (seconds !== undefined) await untilConnected(socket, seconds * 1_000);
  await using client = await connectTool(socket);
  try {
    if (watch) {
      return await (json || !Deno.stdout.isTerminal() ? lines(client, json) : page(client));
    }
    const status = await client.status();
    if (prometheus) print(prometheusText(status));
    else if (json) print(JSON.stringify(status, undefined, 2) + "\n");
    else print(statusPage(status, client.socket, Date.now()).join("\n") + "\n");
    return isConnected(status) ? Exit.OK : Exit.NOT_CONNECTED;
  } catch (error) {
    throw toolError(error, client.socket);
  }
}

/** Whether the connection with the bare client id is up, which everything is published over. */
function isConnected({ connections }: Status): boolean {
  return connections[0]?.connected ?? false;
}

/** Waits for a daemon that is connected, until the time is over; who looks then sees what is missing. */
async function untilConnected(socket: string, ms: number): Promise<void> {
  const until = systemClock.now() + ms;
  while (!await isConnectedAt(socket) && systemClock.now() < until) {
    await sleep(systemClock, Math.min(POLL_MS, until - systemClock.now()));
  }
}

async function isConnectedAt(socket: string): Promise<boolean> {
  try {
    await using client = await connect({ socket });
    return isConnected(await client.status());
  } catch (error) {
    if (error instanceof NoServerError) return false;
    throw toolError(error, socket);
  }
}

/** One line each second. */
async function lines(client: Client, json = false): Promise<ExitCode> {
  const statuses = client.watchStatus({
    onLost: () => warn(`the daemon at ${client.socket} hung up; waiting for it`),
  });
  let failure: ExitError | undefined;
  const output = new Output(Deno.stdout, (error) => {
    if (!(error instanceof Deno.errors.BrokenPipe)) failure = cannotWrite(error);
    void statuses.close();
  });
  using _interrupt = onInterrupt(() => void statuses.close());
  for await (const status of statuses) {
    const line = json ? JSON.stringify(status) : statusLine(status, Date.now());
    await output.put(utf8(line + "\n"));
  }
  await output.flush();
  if (failure !== undefined) throw failure;
  return Exit.OK;
}

/** Whether characters beyond ASCII are shown, by the variables of locale(7) in their order. */
function isUtf8Locale(): boolean {
  const locale = ["LC_ALL", "LC_CTYPE", "LANG"].map((name) => Deno.env.get(name)).find(Boolean);
  return /utf-?8/i.test(locale ?? "");
}

/** What is wrong in red, and bars in green. */
function painted(line: string): string {
  return line.replace(/\b(DOWN|EXPIRED|EXPIRES|HUNG UP)\b/g, "\x1b[31m$1\x1b[39m")
    .replace(/[▁-█]+/g, "\x1b[32m$&\x1b[39m");
}

/** A page that is refreshed in place; the last one stays behind when it is left. */
async function page(client: Client): Promise<ExitCode> {
  let last: Status | undefined;
  {
    const minute = new Minute();
    const style = isUtf8Locale() ? "unicode" : "ascii";
    using screen = new Screen({
      writeSync: (bytes) => Deno.stdout.writeSync(bytes),
      size: () => Deno.consoleSize(),
    }, Deno.noColor ? undefined : painted);
    const show = (note: string): void => {
      if (last === undefined) return;
      const view = { socket: client.socket, style, now: Date.now() } as const;
      screen.show([...dashboard(last, minute, view), "", note]);
    };
    const statuses = client.watchStatus({
      onLost: () => show("THE DAEMON HUNG UP; waiting for it. Ctrl-C ends this."),
    });
    using _interrupt = onInterrupt(() => void statuses.close());
    for await (const status of statuses) {
      last = status;
      minute.add(status);
      show("Ctrl-C ends this.");
    }
  }
  return last === undefined
    ? Exit.OK
    : print(statusPage(last, client.socket, Date.now()).join("\n") + "\n");
}
