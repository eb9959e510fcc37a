import { utf8 } from "../base/bytes.ts";
import { Exit, type Exit as ExitCode, type ExitError } from "../base/errors.ts";
import type { Client } from "../client/client.ts";
import type { Status } from "../status/types.ts";
import { type Parsed, usage } from "./args.ts";
import { prometheusText } from "../status/prometheus.ts";
import { statusLine, statusPage } from "../status/page.ts";
import { Screen } from "./screen.ts";
import { Output } from "./output.ts";
import { connectTool, onInterrupt, socketOf, type Tool, TOOL_OPTIONS } from "./tool.ts";
import { print, warn } from "./output.ts";
import { cannotWrite, exitNotes, toolError } from "./tool_errors.ts";

/** `iotcored status`. */
export const STATUS: Tool = {
  command: {
    name: "status",
    summary: "Shows how the daemon is: its connections, spool, publishes and clients.",
    usage: ["status [--watch] [--json | --prometheus]"],
    options: [
      { option: "json", help: "print a JSON object; with --watch one a line" },
      {
        option: "watch",
        help: "go on each second: in place on a terminal, else one line each",
      },
      { option: "prometheus", help: "print metrics in Prometheus's text format" },
      ...TOOL_OPTIONS,
    ],
    notes: exitNotes(),
    examples: [
      ["iotcored status", "once"],
      ["iotcored status --watch", "each second, until Ctrl-C"],
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
  await using client = await connectTool(socketOf(parsed));
  try {
    if (watch) {
      return await (json || !Deno.stdout.isTerminal() ? lines(client, json) : page(client));
    }
    const status = await client.status();
    if (prometheus) return print(prometheusText(status));
    if (json) return print(JSON.stringify(status, undefined, 2) + "\n");
    return print(statusPage(status, client.socket, Date.now()).join("\n") + "\n");
  } catch (error) {
    throw toolError(error, client.socket);
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

/** A page that is refreshed in place; the last one stays behind when it is left. */
async function page(client: Client): Promise<ExitCode> {
  let last: Status | undefined;
  {
    using screen = new Screen({
      writeSync: (bytes) => Deno.stdout.writeSync(bytes),
      size: () => Deno.consoleSize(),
    });
    const show = (note: string): void => {
      if (last === undefined) return;
      screen.show([...statusPage(last, client.socket, Date.now()), "", note]);
    };
    const statuses = client.watchStatus({
      onLost: () => show("THE DAEMON HUNG UP; waiting for it. Ctrl-C ends this."),
    });
    using _interrupt = onInterrupt(() => void statuses.close());
    for await (const status of statuses) {
      last = status;
      show("Ctrl-C ends this.");
    }
  }
  return last === undefined
    ? Exit.OK
    : print(statusPage(last, client.socket, Date.now()).join("\n") + "\n");
}
