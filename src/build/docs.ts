/**
 * `deno task docs`: writes the documents that are made from the tables of the program.
 *
 * @module
 */

import { configKey } from "../config/resolve.ts";
import { type Applies, type Setting, type SettingName, SETTINGS } from "../config/settings.ts";
import { type Fields, type Metric, STATUS_FIELDS } from "../status/metrics.ts";
import { INFO } from "../status/prometheus.ts";
import { orExit, ROOT } from "./deno.ts";

/** When a changed config key applies, in words. */
export const APPLIES: Readonly<Record<Applies, string>> = {
  live: "at once",
  link: "by a new connection",
  route: "by a new connection, after the broker was reached that way",
  restart: "at the next start",
};

/** The page of every setting: option, config key, default, and what a change of the key needs. */
export function configPage(): string {
  const rows = (Object.entries(SETTINGS) as [SettingName, Setting<unknown>][]).map(
    ([name, setting]) => [
      optionOf(setting),
      setting.help,
      defaultOf(setting),
      keysOf(name),
      name === "spool" || setting.key !== undefined ? APPLIES[setting.applies] : "",
    ],
  );
  return `# Configuration

Made by \`deno task docs\` from \`src/config/settings.ts\`; do not edit it here.

A value comes from the command line, else (the proxy alone) from the environment, else from the config service of the Greengrass
nucleus, else from the default. One that is malformed, or required and given nowhere, ends the program with one line that names
the option, the key, the rule and the value: exit code 64 for the command line, 78 for the rest. The config service is asked only
when something required is not on the command line; it is watched then, and a changed key applies as the last column says.

Keys without a prefix stand below \`services/aws.greengrass.NucleusLite/configuration/\`.

${table(["option", "what", "default", "config key", "a changed key applies"], rows)}
\`--connection-ceiling N\` is baked into a compiled program (\`deno task compile -- --max-connections N\`): the most connections that it
may use, 1 unless it was said. \`$https_proxy\` and \`$no_proxy\` are also read in capitals.

Arguments are read as \`getopt_long\` reads them, on every subcommand: \`-iNAME\`, \`-lq1\`, \`--endp=HOST\` as long as no other option
begins so, \`-m -5\`, and \`--\` before words that begin with a dash. Two rules are our own: \`-i=NAME\` is \`-i NAME\` (but \`-m=21\` is the
text \`=21\`), and only a text may be empty.
`;
}

/** The page of every field of the status, and of the metric that it is. */
export function metricsPage(): string {
  const rows = fieldRows(STATUS_FIELDS, "", "");
  const metrics = rows.filter(({ metric }) => metric !== undefined);
  return `# Status and metrics

Made by \`deno task docs\` from \`src/status/metrics.ts\`; do not edit it here.

\`iotcored status --prometheus\` prints the metrics in Prometheus's text format, for the textfile collector of node_exporter;
\`iotcored status --json\` prints the fields; the method \`status\` of the core bus gives the same fields as a map
([core-bus.md](core-bus.md)). Counters begin at 0 with each start of the daemon. Times are in ms in the fields, and in seconds in
the metrics.

## Metrics

${
    table(["metric", "type", "label", "what", "field"], [
      metricRow(INFO, "`version`, `storage`", "`version`, `spool.storage`"),
      ...metrics.map(({ path, label, metric }) => metricRow(metric!, label, code(path))),
    ])
  }
## Fields

${
    table(
      ["field", "type"],
      rows.map(({ path, type }) => [code(path), type]),
    )
  }
\`[]\` is a list: of the connections, the one with the bare client id first; of the messages in quarantine, the first 100; of what
has a bound, whose names are in [limits.md](limits.md).
`;
}

/** One field of the status, for the page. */
interface FieldRow {
  readonly path: string;
  readonly type: string;
  /** What tells the figures of a list apart, in Markdown. */
  readonly label: string;
  readonly metric: Metric | undefined;
}

function fieldRows(fields: Fields, above: string, label: string): FieldRow[] {
  return Object.entries(fields).flatMap(([name, row]): FieldRow[] => {
    const path = `${above}${name}`;
    if ("section" in row) return fieldRows(row.section, `${path}.`, label);
    if ("list" in row) {
      return fieldRows(row.list, `${path}[].`, row.label === undefined ? "" : code(row.label.name));
    }
    const type = row.optional ? `${row.kind}, or null` : row.kind;
    return [{ path, type, label, metric: row.metric }];
  });
}

function metricRow({ name, type, help }: Metric, label: string, fields: string): string[] {
  return [code(name), type, label, help, fields];
}

function optionOf({ option, short, value }: Setting<unknown>): string {
  const names = [...short === undefined ? [] : [`-${short}`], `--${option}`].join(", ");
  return code(value === undefined ? names : `${names} ${value}`);
}

/** What holds when a setting is given nowhere. */
export function defaultText({ fallback, fallbackText, required, value }: Setting<unknown>): string {
  if (required) return "none, it is required";
  return fallbackText ?? (value === undefined ? "off" : fallback ?? "");
}

function defaultOf(setting: Setting<unknown>): string {
  if (setting.required) return "required";
  const isValue = setting.fallbackText === undefined && setting.value !== undefined;
  return isValue ? code(defaultText(setting)) : defaultText(setting);
}

function keysOf(name: SettingName): string {
  if (name === "spool") return `${code("mqtt/spooler/storageType")}, ${code("mqtt/spooler/path")}`;
  const key = configKey(name);
  return key === undefined ? "" : code(SETTINGS[name as "endpoint"].key);
}

function code(text: string): string {
  return `\`${text.replaceAll("|", "\\|")}\``;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |\n`;
  return line(head) + line(head.map(() => "---")) + rows.map(line).join("");
}

if (import.meta.main) {
  await orExit(async () => {
    await Deno.writeTextFile(`${ROOT}docs/config.md`, configPage());
    await Deno.writeTextFile(`${ROOT}docs/metrics.md`, metricsPage());
  });
}
