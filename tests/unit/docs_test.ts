import { BusErrorCode, Exit } from "../../src/base/errors.ts";
import { BUILD_OPTIONS } from "../../src/build/options.ts";
import { allCommands } from "../../src/cli/commands.ts";
import { MOSQUITTO_OPTIONS } from "../../src/cli/foreign.ts";
import { busMethods, type MethodOptions } from "../../src/daemon/bus_methods.ts";
import { codeText, consequenceInConnack } from "../../src/mqtt/reason_codes.ts";
import { assert, assertEquals } from "../deps.ts";

const ROOT = new URL("../../", import.meta.url);

/** The documents, by their path in the project. */
async function documents(): Promise<ReadonlyMap<string, string>> {
  const paths = ["README.md", "CHANGELOG.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md"];
  for await (const { name } of Deno.readDir(new URL("docs/", ROOT))) {
    if (name.endsWith(".md")) paths.push(`docs/${name}`);
  }
  return new Map(await Promise.all(paths.map(async (path) => [path, await read(path)] as const)));
}

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(path, ROOT));
}

function exists(url: URL): boolean {
  try {
    Deno.statSync(url);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The rows of the tables of a page, as their cells. */
function rows(page: string): string[][] {
  return [...page.matchAll(/^\| (.*) \|$/gm)]
    .map(([, row]) => row!.split(/(?<!\\)\|/).map((cell) => cell.trim()));
}

Deno.test("every relative link of the documents leads to a file, and every anchor to a heading", async () => {
  const broken: string[] = [];
  for (const [path, text] of await documents()) {
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target!)) continue;
      const url = new URL(target!, new URL(path, ROOT));
      const anchor = url.hash.slice(1);
      url.hash = "";
      if (!exists(url)) broken.push(`${path}: ${target}`);
      else if (anchor !== "" && !anchorsOf(await Deno.readTextFile(url)).includes(anchor)) {
        broken.push(`${path}: ${target} has no such heading`);
      }
    }
  }
  assertEquals(broken, []);
});

/** The anchors that GitHub gives the headings of a page. */
function anchorsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!.toLowerCase().replaceAll(/[^\w\s-]/g, "").replaceAll(" ", "-")
  );
}

Deno.test("every path of the project that the documents name exists", async () => {
  const missing: string[] = [];
  for (const [path, text] of await documents()) {
    for (const [, name] of text.matchAll(/`((?:src|tests|docs|\.ci|\.github)\/[\w./-]+)`/g)) {
      if (!exists(new URL(name!, ROOT))) missing.push(`${path}: ${name}`);
    }
  }
  assertEquals(missing, []);
});

/** Of other programs, and an abbreviation. */
const NO_OPTIONS = [
  "--interval",
  ...["--now", "--endp", "--create", "--repo"],
  ...["--strip-components", "--no-same-owner", "--no-overwrite-dir"],
];

Deno.test("every long option that the documents name is one", async () => {
  const options = [
    ...(await allCommands()).flatMap((command) => command.options),
    ...BUILD_OPTIONS,
  ];
  const known = new Set(options.flatMap(({ option, aliases = [] }) => [option, ...aliases]));
  // A page may name several that are refused by what they begin with.
  const refused = MOSQUITTO_OPTIONS.flatMap(({ names }) => names);
  const isRefused = (name: string): boolean => refused.some((other) => other.startsWith(name));
  const unknown: string[] = [];
  for (const [path, text] of await documents()) {
    for (const [name] of text.matchAll(/(?<![\w-])--[a-z][\w-]+/g)) {
      const isKnown = known.has(name.slice(2)) || isRefused(name.slice(2)) ||
        NO_OPTIONS.includes(name);
      if (!isKnown) unknown.push(`${path}: ${name}`);
    }
  }
  assertEquals(unknown, []);
});

Deno.test("every file of src that docs/architecture.md names exists", async () => {
  const named = [...(await read("docs/architecture.md")).matchAll(/`([a-z_]+\/[\w/]+\.ts)`/g)]
    .map(([, name]) => name!).filter((name) => !name.startsWith("tests/"));
  assert(named.length > 50, `${named.length} names were found`);
  assertEquals(named.filter((name) => !exists(new URL(`src/${name}`, ROOT))), []);
});

Deno.test("README.md stays under 180 lines: the rest is for the pages in docs/", async () => {
  const lines = (await read("README.md")).trimEnd().split("\n").length;
  assert(lines < 180, `${lines} lines`);
});

Deno.test("README.md shows the example of the client library as it is", async () => {
  const example = await read("examples/deno.ts");
  const [, shown] = /^```ts\n([^]*?)^```$/m.exec(await read("README.md"))!;
  assertEquals(shown, example.slice(example.indexOf("await using")));
});

Deno.test("every document is linked from README.md", async () => {
  const readme = await read("README.md");
  for (const path of (await documents()).keys()) {
    if (path !== "README.md") assert(readme.includes(`](${path})`), path);
  }
});

Deno.test("every number of docs/limits.md is that of its constant", async () => {
  const wrong: string[] = [];
  let compared = 0;
  for (const [what, most, constant] of rows(await read("docs/limits.md"))) {
    const [, name, path] = /^`([A-Z0-9_]+(?:\.\w+)?)` in `(src\/[\w/.]+)`$/.exec(constant ?? "") ??
      [];
    if (name === undefined) continue;
    const value = constantIn(await read(path!), name);
    if (inUnitOf(name, most!) !== value) wrong.push(`${what}: ${most}, but ${name} is ${value}`);
    compared++;
  }
  assertEquals(wrong, []);
  assert(compared > 60, `${compared} numbers were compared`);
});

Deno.test("docs/limits.md has every constant that is a bound", async () => {
  const page = await read("docs/limits.md");
  const missing: string[] = [];
  for await (const path of sources("src/")) {
    const all = ["src/bus/limits.ts", "src/aws/limits.ts"].includes(path);
    const names = (await read(path)).matchAll(/^(?:export )?const ([A-Z0-9_]+) = [\d_]+/gm);
    for (const [, name] of names) {
      const isBound = (all && name !== "ALPN_PORT") || name!.startsWith("MAX_");
      if (isBound && !page.includes(`\`${name}\` in \`${path}\``)) missing.push(`${path} ${name}`);
    }
  }
  assertEquals(missing, []);
});

Deno.test("docs/limits.md has the name of each queue of the status", async () => {
  const page = await read("docs/limits.md");
  const report = await read("src/daemon/status_report.ts");
  const names = [...report.matchAll(/\bbounded\("(\w+)"/g)].map((match) => match[1]!);
  assert(names.length > 5, `${names.length} names were found`);
  for (const name of names) assert(page.includes(`| \`${name}\``), name);
});

/** The source files below a folder, without those of the build. */
async function* sources(dir: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(new URL(dir, ROOT))) {
    if (isDirectory && name !== "build") yield* sources(`${dir}${name}/`);
    else if (name.endsWith(".ts")) yield `${dir}${name}`;
  }
}

/** The value of a numeric constant, or of a property of a constant object, in a source text. */
function constantIn(source: string, name: string): number {
  const [constant, property] = name.split(".");
  const value = String.raw`(0x[\da-f_]+|[\d_.]+(?: \* [\d_.]+)*)`;
  const pattern = property === undefined
    ? `^(?:export )?const ${constant}(?:: \\w+)? = ${value}`
    : `^(?:export )?const ${constant}(?:: \\w+)? = \\{[^}]*?\\b${property}: ${value}`;
  const [, text] = new RegExp(pattern, "m").exec(source) ?? [];
  assert(text !== undefined, `${name} must be a number in the source`);
  return text.split(" * ").reduce((product, part) => product * Number(part.replaceAll("_", "")), 1);
}

/** A number of the page in the unit of its constant. */
function inUnitOf(name: string, most: string): number {
  const [, digits, unit = ""] = /^([\d,.]+)(?: (s|ms|min|bytes))?$/.exec(most) ?? [];
  const factors: Readonly<Record<string, number>> = { s: 1_000, ms: 1, min: 60_000, bytes: 1 };
  assert(
    /Ms$|_MS$/.test(name) === ["s", "ms", "min"].includes(unit),
    `${most} for ${name} needs a unit`,
  );
  return Number(digits?.replaceAll(",", "")) * (factors[unit] ?? 1);
}

Deno.test("docs/core-bus.md has every error code of the bus", async () => {
  const listed = rows(await read("docs/core-bus.md"))
    .filter(([number, name]) => /^\d+$/.test(number!) && /^`[A-Z]+`$/.test(name ?? ""))
    .map(([number, name]) => [name!.slice(1, -1), Number(number)]);
  assertEquals(listed, Object.entries(BusErrorCode));
});

Deno.test("docs/core-bus.md has every method of the bus, and no other", async () => {
  const page = await read("docs/core-bus.md");
  const [, section = ""] = /^## Methods of `aws_iot_mqtt`$([^]*?)^## /m.exec(page) ?? [];
  const listed = rows(section).flatMap(([names]) => [...names!.matchAll(/`(\w+)`/g)]);
  // The table is made without a look at what its methods work on.
  const methods = Object.keys(busMethods({} as MethodOptions));
  assertEquals(listed.map((match) => match[1]!).sort(), methods.sort());
});

Deno.test("docs/operations.md has every exit code, and no other", async () => {
  const page = await read("docs/operations.md");
  const [, section = ""] = /^## Exit codes$([^]*?)^## /m.exec(page) ?? [];
  const listed = rows(section).map(([exit]) => exit!).filter((exit) => /^\d+$/.test(exit));
  const wanted = Object.values(Exit).toSorted((a, b) => a - b).map(String);
  assertEquals([...new Set(listed)].toSorted((a, b) => Number(a) - Number(b)), wanted);
});

Deno.test("docs/operations.md names the CONNACK codes that end the daemon", async () => {
  const page = await read("docs/operations.md");
  const [, text = ""] = /CONNACK ((?:0x[\dA-F]+|\d)(?:, (?:0x[\dA-F]+|\d))*)/.exec(page) ?? [];
  const fatal = Array.from({ length: 256 }, (_, code) => code)
    .filter((code) => consequenceInConnack(code) === "credentials").map(codeText);
  assertEquals(text.split(", "), fatal);
});

Deno.test("docs/operations.md quotes the log as src has it", async () => {
  const [, section = ""] =
    /^## What the log says$([^]*?)^## /m.exec(await read("docs/operations.md")) ??
      [];
  let source = "";
  // Texts are cut where lines are full.
  for await (const path of sources("src/")) {
    source += (await read(path)).replaceAll(/[`"] \+\s+[`"]/g, "");
  }
  const quoted = rows(section).flatMap(([text]) => [...text!.matchAll(/`([^`]+)`/g)]).map((
    [, text],
  ) => text!);
  assert(quoted.length > 20, `${quoted.length} texts were found`);
  const missing = quoted.flatMap((text) => text.split("...")).map((part) => part.trim())
    .filter((part) => !source.includes(part));
  assertEquals(missing, []);
});
