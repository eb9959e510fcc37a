import type { Exit as ExitCode } from "../base/errors.ts";
import type { CheckStep } from "../process/check.ts";
import { checkFilter, checkTopic } from "../topic/filter.ts";
import type { Parsed } from "./args.ts";
import { print } from "./output.ts";
import { DAEMON_OPTIONS, daemonOptionsOf } from "./run.ts";
import { checked, textOf, type Tool } from "./tool.ts";

/** `iotcored check`. */
export const CHECK: Tool = {
  takesCeiling: true,
  command: {
    name: "check",
    summary: "Tries the way to the broker step by step, beside a daemon that runs.",
    usage: ["check [options of run] [--topic TOPIC] [--filter FILTER] [--offline] [--json]"],
    options: [
      { option: "topic", short: "t", value: "TOPIC", help: "publish an empty QoS 1 message there" },
      { option: "filter", value: "FILTER", help: "subscribe to this topic filter" },
      {
        option: "as-thing",
        help:
          "use the thing's own client id, which takes the running daemon's session for a moment",
      },
      { option: "offline", help: "end before the network is used" },
      { option: "json", help: "print a JSON object a line" },
      ...DAEMON_OPTIONS,
      { option: "help", short: "h", help: "print this help" },
    ],
    notes: [
      "What the options leave open is asked of the config service, as the daemon does. The client id is",
      "the thing's with -check- and a random text behind it.",
      "",
      "Exit codes:",
      "   0  the broker was reached, and allows what was tried",
      "  64  wrong usage",
      "  69  the network, the server's TLS or the config service",
      "  77  the broker refused the certificate, the client id, the topic or the filter",
      "  78  the configuration, or one of the credential files",
    ],
    examples: [
      ["iotcored check", "with what the config service says"],
      [
        "iotcored check -e xyz-ats.iot.eu-west-1.amazonaws.com -i thing -r ca.pem -c cert.pem -k key.pem",
        "by options",
      ],
      ["iotcored check --topic test/1 --filter 'commands/#'", "and what the policy allows"],
    ],
  },
  run: check,
};

/** Where the text of a step begins. */
const COLUMN = 37;

async function check(parsed: Parsed): Promise<ExitCode> {
  const run = daemonOptionsOf(parsed);
  const topic = textOf(parsed, "topic");
  const filter = textOf(parsed, "filter");
  if (topic !== undefined) checked("topic", topic, checkTopic);
  if (filter !== undefined) checked("filter", filter, checkFilter);
  const [asThing = false, offline = false, json = false] = ["as-thing", "offline", "json"]
    .map((name) => parsed.values.has(name));
  if (asThing && !offline && !json) {
    print("the client id is the thing's own: a daemon that runs loses its connection for it\n");
  }
  const { runCheck } = await import("../process/check.ts");
  return await runCheck(run, { asThing, offline, topic, filter }, (step) => {
    print(json ? jsonOf(step) : textOfStep(step));
  });
}

function jsonOf(step: CheckStep): string {
  return `${JSON.stringify({ ...step, ms: Math.round(step.ms) })}\n`;
}

function textOfStep({ step, outcome, ms, text, advice }: CheckStep): string {
  const time = `${Math.round(ms)} ms`;
  const shown = outcome === "failed" ? "FAILED" : outcome;
  const head = `${step.padEnd(14)} ${shown.padEnd(8)} ${time.padStart(9)}`;
  const lines = [`${head.padEnd(COLUMN)}${text}`];
  if (advice !== undefined) lines.push(`${" ".repeat(COLUMN)}what to do: ${advice}`);
  return lines.join("\n") + "\n";
}
