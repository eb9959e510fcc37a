import type { Option } from "../cli/args.ts";
import { type Command, wrapped } from "../cli/help.ts";
import { configKey } from "../config/resolve.ts";
import { CONFIG_PREFIX, type Setting, type SettingName, SETTINGS } from "../config/settings.ts";
import { APPLIES, defaultText } from "./docs.ts";

/** A manual page: its file, and its text for mandoc(1) or groff(1). */
export interface ManPage {
  /** `<name>.<section>`. */
  readonly file: string;
  readonly text: string;
}

/** The longest line before escapes make it longer, in characters; mandoc(1) wants 80 with them. */
const LINE = 66;

/** The manual pages, made from the tables of subcommands and settings; `date` is the day of the source. */
export function manPages(commands: readonly Command[], date: Date): ManPage[] {
  const [run, ...tools] = commands;
  return [toolsPage(tools, date), settingsPage(date), daemonPage(run!, date)];
}

function toolsPage(tools: readonly Command[], date: Date): ManPage {
  return page("iotcored", 1, "share one connection to AWS IoT Core: the tools", date, [
    ".Sh SYNOPSIS",
    ...tools.flatMap(({ usage }) => usage).flatMap(synopsis),
    ".Sh DESCRIPTION",
    ...prose(
      "The subcommands that talk to the running daemon, or work beside it. The daemon itself is",
    ),
    ".Xr iotcored 8 .",
    ...tools.flatMap((tool) => [`.Ss ${text(tool.name)}`, ...body(tool)]),
    ".Sh SEE ALSO",
    ".Xr iotcored-config 5 ,",
    ".Xr iotcored 8",
  ]);
}

function daemonPage(run: Command, date: Date): ManPage {
  return page("iotcored", 8, "share one connection to AWS IoT Core: the daemon", date, [
    ".Sh SYNOPSIS",
    ...run.usage.flatMap(synopsis),
    ".Sh DESCRIPTION",
    ...body(run),
    ".Sh SIGNALS",
    ".Bl -tag -width Ds",
    ".It SIGTERM , SIGINT",
    ...prose("Waits for answers and acknowledgements, 3 s at most, and stops."),
    ".It SIGHUP",
    ...prose("Reads configuration and credential files again, and connects anew."),
    ".El",
    ".Sh FILES",
    ".Bl -tag -width Ds",
    ".It Pa /etc/iotcored/options",
    ...prose("Options that the unit passes, as OPTIONS=--endpoint HOST ... in one line."),
    ".It Pa /etc/iotcored",
    ...prose("The folder for certificate, key and root CA, readable for the group ggcore."),
    ".It Pa /var/lib/iotcored/spool",
    ...prose("The spool of the service."),
    ".It Pa /run/greengrass/aws_iot_mqtt",
    ...prose("The socket."),
    ".El",
    ".Sh SEE ALSO",
    ".Xr iotcored 1 ,",
    ".Xr iotcored-config 5",
  ]);
}

function settingsPage(date: Date): ManPage {
  const settings = Object.entries(SETTINGS) as [SettingName, Setting<unknown>][];
  return page("iotcored-config", 5, "options and config keys of iotcored", date, [
    ".Sh DESCRIPTION",
    ...prose(
      "A value comes from the command line, else (the proxy alone) from the environment, else from the config service of the Greengrass nucleus, else from the default. Keys without a prefix stand below",
    ),
    `.Pa ${text(CONFIG_PREFIX)} .`,
    ".Bl -tag -width Ds",
    ...settings.flatMap(([name, setting]) => settingLines(name, setting)),
    ".El",
    ".Sh SEE ALSO",
    ".Xr iotcored 8",
  ]);
}

function settingLines(name: SettingName, setting: Setting<unknown>): string[] {
  const key = configKey(name);
  const facts = [`Default: ${defaultText(setting)}.`];
  if (key !== undefined) {
    const shown = key.startsWith(CONFIG_PREFIX) ? key.slice(CONFIG_PREFIX.length) : key;
    facts.push(`Config key: ${shown}; a change applies ${APPLIES[setting.applies]}.`);
  }
  return [item(setting), ...prose([sentence(setting.help), ...facts].join(" "))];
}

function page(
  name: string,
  section: number,
  summary: string,
  date: Date,
  lines: readonly string[],
): ManPage {
  const day = date.toLocaleDateString("en-US", {
    timeZone: "UTC",
    ...{ year: "numeric", month: "long", day: "numeric" },
  });
  const head = [
    `.Dd ${day}`,
    `.Dt ${name.toUpperCase()} ${section}`,
    ".Os",
    ".Sh NAME",
    `.Nm ${name}`,
    `.Nd ${summary}`,
  ];
  return { file: `${name}.${section}`, text: [...head, ...lines].join("\n") + "\n" };
}

function body({ summary, options, notes = [], examples }: Command): string[] {
  return [
    ...prose(summary),
    ...list(options.flatMap((option) => [item(option), ...prose(sentence(option.help))])),
    ...notes.length === 0 ? [] : [".Bd -literal", ...notes.map(text), ".Ed"],
    ...examples.length === 0 ? [] : [".Pp", "Examples:"],
    ...list(
      examples.flatMap((
        [example, what],
      ) => [`.It ${text(what)}`, ".Bd -literal", text(example), ".Ed"]),
    ),
  ];
}

function synopsis(usage: string): string[] {
  return [".Nm", ...wrapped(usage, LINE).map(text)];
}

/** Text to read, whose sentences begin on lines of their own, as mdoc(7) wants them. */
function prose(plain: string): string[] {
  return plain.split(/(?<=[.:]) (?=[A-Z])/).flatMap((sentence) =>
    wrapped(sentence, LINE).map(text)
  );
}

function list(items: readonly string[]): string[] {
  return items.length === 0 ? [] : [".Bl -tag -width Ds", ...items, ".El"];
}

/** An option as the head of a list's item. */
function item({ option, short, value }: Pick<Option, "option" | "short" | "value">): string {
  const argument = value === undefined ? "" : ` Ar ${argumentText(value)}`;
  const letter = short === undefined ? "" : `Fl ${short} , `;
  return `.It ${letter}Fl \\-${text(option)}${argument}`;
}

/** Zero-width marks keep a macro line from taking `|` or a bracket for a delimiter. */
function argumentText(value: string): string {
  return text(value).replaceAll(/[|[\]]/g, "$&\\&");
}

/** Text that means nothing to roff(7): no escapes, no macro at the start of a line. */
function text(plain: string): string {
  return plain.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("'", "\\(aq").replace(
    /^[. ]*\./,
    "\\&$&",
  );
}

function sentence(help: string): string {
  return `${help[0]!.toUpperCase()}${help.slice(1)}.`;
}
