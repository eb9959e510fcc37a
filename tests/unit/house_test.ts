import { assert, assertEquals } from "../deps.ts";

/** The floors of the house, ground floor first: a room may import only from rooms on lower floors, and from itself. */
const FLOORS = [
  ["base"],
  ["wire", "topic", "limit"],
  ["spool", "mqtt", "bus"],
  ["client"],
  ["publish"],
  ["daemon"],
  ["cli"],
];

const ROOT = new URL("../../", import.meta.url);

/** What a file imports, statically or dynamically, from a relative path or by name. */
function importsOf(text: string): string[] {
  const code = text.replaceAll(/^\s*\*.*$/gm, "");
  const statements = code.matchAll(/^(?:import|export)\b(?:[^;"]*?\bfrom)?\s*"([^"$]+)"/gm);
  const expressions = code.matchAll(/\bimport\(\s*"([^"$]+)"/g);
  return [...statements, ...expressions].map((match) => match[1]!);
}

async function* sources(dir: URL): AsyncGenerator<URL> {
  for await (const entry of Deno.readDir(dir)) {
    const url = new URL(entry.name + (entry.isDirectory ? "/" : ""), dir);
    if (entry.isDirectory) yield* sources(url);
    else if (entry.name.endsWith(".ts")) yield url;
  }
}

function roomOf(url: URL): string | undefined {
  return /\/src\/([^/]+)\//.exec(url.pathname)?.[1];
}

function floorOf(room: string): number {
  return FLOORS.findIndex((floor) => floor.includes(room));
}

Deno.test("every folder of src is a room of the house", async () => {
  const rooms: string[] = [];
  for await (const entry of Deno.readDir(new URL("src/", ROOT))) {
    // The unit files are there for packagers, and hold no code.
    if (entry.isDirectory && entry.name !== "systemd") rooms.push(entry.name);
  }
  assertEquals(rooms.sort(), FLOORS.flat().sort());
});

Deno.test("a room imports only from rooms on lower floors", async () => {
  const wrong: string[] = [];
  let seen = 0;
  for await (const url of sources(new URL("src/", ROOT))) {
    const room = roomOf(url)!;
    for (const specifier of importsOf(await Deno.readTextFile(url))) {
      if (!specifier.startsWith(".")) continue;
      const target = roomOf(new URL(specifier, url));
      seen++;
      if (target === undefined || target === room) continue;
      if (floorOf(target) >= floorOf(room)) wrong.push(`${url.pathname} imports ${specifier}`);
    }
  }
  assertEquals(wrong, []);
  assert(seen > 50, `only ${seen} imports were found: the search is broken`);
});

Deno.test("third-party packages come in through deps.ts alone, and through tests/deps.ts for the tests", async () => {
  const wrong: string[] = [];
  for await (const url of sources(ROOT)) {
    if (/\/(deps\.ts|\.ci\/.*|\.git\/.*|dist\/.*)$/.test(url.pathname)) continue;
    for (const specifier of importsOf(await Deno.readTextFile(url))) {
      if (!/^(\.|node:)/.test(specifier)) wrong.push(`${url.pathname} imports ${specifier}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("only the MQTT.js port loads MQTT.js", async () => {
  const loaders: string[] = [];
  for await (const url of sources(new URL("src/", ROOT))) {
    if ((await Deno.readTextFile(url)).includes("loadMqtt")) {
      loaders.push(url.pathname.split("/src/")[1]!);
    }
  }
  assertEquals(loaders, ["mqtt/mqttjs_port.ts"]);
});

Deno.test("the rooms without side effects do not touch the world or the clock", async () => {
  const pure =
    /\/src\/(wire|topic|limit)\/|\/src\/spool\/policy\.ts$|\/src\/mqtt\/connection_state\.ts$|\/src\/publish\/(close_cause|unproven|standings|poison_detector)\.ts$/;
  const wrong: string[] = [];
  for await (const url of sources(new URL("src/", ROOT))) {
    if (!pure.test(url.pathname)) continue;
    const code = (await Deno.readTextFile(url)).replaceAll(/\/\*[^]*?\*\/|\/\/.*/g, "");
    const found = /\bDeno\.|\bawait\b|Date\.now|Math\.random|performance\./.exec(code);
    if (found) wrong.push(`${url.pathname}: ${found[0]}`);
  }
  assertEquals(wrong, []);
});

Deno.test("the import map for networks with npm only differs from deno.json in the JSR packages alone", async () => {
  const read = async (path: string): Promise<Record<string, string>> =>
    JSON.parse(await Deno.readTextFile(new URL(path, ROOT))).imports;
  const original = await read("deno.json");
  const npmOnly = await read(".ci/npm-only/import_map.json");
  for (const [name, target] of Object.entries(original)) {
    if (target.startsWith("npm:")) assertEquals(npmOnly[name], target, name);
    else {assert(
        Object.keys(npmOnly).some((key) => key === name || key.startsWith(`${name}/`)),
        name,
      );}
  }
});
