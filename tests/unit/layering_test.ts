import { assert, assertEquals } from "../deps.ts";

/**
 * What each module may import, beside `base`, which all may; an import that is not here fails, and so does an entry that nothing
 * uses. `types` may be imported as types only.
 */
const ALLOWED: Readonly<Record<string, { readonly code: string[]; readonly types?: string[] }>> = {
  base: { code: ["deno.json"] },
  wire: { code: [] },
  topic: { code: ["aws"] },
  aws: { code: [] },
  status: { code: [], types: ["wire"] },
  spool: { code: [] },
  mqtt: { code: ["deps.ts"], types: ["aws"] },
  bus: { code: ["wire"] },
  client: { code: ["bus", "status", "wire"] },
  publish: { code: ["aws", "mqtt", "spool"], types: ["bus"] },
  subscribe: { code: ["aws", "mqtt", "topic", "wire"], types: ["bus"] },
  config: { code: ["aws", "bus", "mqtt"], types: ["wire"] },
  daemon: {
    code: [
      "aws",
      "bus",
      "config",
      "mqtt",
      "publish",
      "spool",
      "status",
      "subscribe",
      "topic",
      "wire",
    ],
  },
  process: { code: ["config", "daemon"] },
  cli: {
    code: ["aws", "bus", "client", "config", "deps.ts", "process", "spool", "status", "topic"],
  },
  build: { code: ["bus", "cli", "config", "daemon", "deno.json", "status"] },
  "main.ts": { code: ["cli"] },
};

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

/** The module of a file: its folder in `src`, or its own name at the top. */
function moduleOf(url: URL): string {
  const path = url.pathname.slice(ROOT.pathname.length);
  return /^src\/([^/]+)\//.exec(path)?.[1] ?? path;
}

/** The modules that each module imports, and those that it imports for more than their types. */
async function edges(): Promise<Map<string, { all: Set<string>; code: Set<string> }>> {
  const found = new Map<string, { all: Set<string>; code: Set<string> }>();
  const files = [new URL("main.ts", ROOT)];
  for await (const url of sources(new URL("src/", ROOT))) files.push(url);
  for (const url of files) {
    const from = moduleOf(url);
    if (!found.has(from)) found.set(from, { all: new Set(), code: new Set() });
    const text = await Deno.readTextFile(url);
    const { all, code } = found.get(from)!;
    for (
      const [names, specifiers] of [[all, importsOf(text)], [code, codeImportsOf(text)]] as const
    ) {
      for (const specifier of specifiers.filter((specifier) => specifier.startsWith("."))) {
        const to = moduleOf(new URL(specifier, url));
        if (to !== from && to !== "base") names.add(to);
      }
    }
  }
  return found;
}

function codeImportsOf(text: string): string[] {
  return importsOf(text.replaceAll(/^(?:import|export) type\b[^;]*;/gm, ""));
}

Deno.test("every folder of src is a module of the table, and the other way round", async () => {
  const modules: string[] = ["main.ts"];
  for await (const entry of Deno.readDir(new URL("src/", ROOT))) {
    if (entry.isDirectory) modules.push(entry.name);
  }
  assertEquals(modules.sort(), Object.keys(ALLOWED).sort());
});

Deno.test("each module says in the comment of one file what it is", async () => {
  const described = new Set<string>();
  for await (const url of sources(new URL("src/", ROOT))) {
    if (/^ \* @module$/m.test(await Deno.readTextFile(url))) described.add(moduleOf(url));
  }
  const modules = Object.keys(ALLOWED).filter((module) => module !== "main.ts");
  assertEquals([...described].sort(), modules.sort());
});

Deno.test("a module imports only what the table allows, and the table allows only what is imported", async () => {
  const found = [...await edges()].map(([module, { all, code }]) => {
    const types = [...all].filter((name) => !code.has(name)).sort();
    return [module, { code: [...code].sort(), ...(types.length > 0 ? { types } : {}) }] as const;
  });
  const allowed = Object.entries(ALLOWED).map(([module, { code, types }]) =>
    [module, { code: [...code].sort(), ...(types ? { types: [...types].sort() } : {}) }] as const
  );
  assertEquals(Object.fromEntries(found), Object.fromEntries(allowed));
});

Deno.test("docs/architecture.md has the same table", async () => {
  const page = await Deno.readTextFile(new URL("docs/architecture.md", ROOT));
  const names = (cell: string): string[] =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);
  const row = /^\| `([\w.]+)` *\|[^|]*\|([^|]*)\|([^|]*)\|$/gm;
  const listed = [...page.matchAll(row)].map(([, module, code, types]) =>
    [module!, { code: names(code!).sort(), types: names(types!).sort() }] as const
  );
  const allowed = Object.entries(ALLOWED).map(([module, { code, types = [] }]) =>
    [module, { code: code.toSorted(), types: types.toSorted() }] as const
  );
  assertEquals(Object.fromEntries(listed), Object.fromEntries(allowed));
});

Deno.test("no module imports itself through others", () => {
  const visit = (module: string, path: readonly string[]): void => {
    assert(!path.includes(module), `${[...path, module].join(" -> ")} is a circle`);
    for (const next of ALLOWED[module]?.code ?? []) visit(next, [...path, module]);
  };
  for (const module of Object.keys(ALLOWED)) visit(module, []);
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
  assertEquals(loaders, ["mqtt/mqttjs_link.ts"]);
});

Deno.test("the pure modules do not touch the outside or the clock", async () => {
  const pure =
    /\/src\/(wire|topic|aws|status)\/|\/src\/spool\/policy\.ts$|\/src\/mqtt\/(connection_state|pem|reason_codes)\.ts$|\/src\/publish\/(account_rate|close_cause|congestion_window|unproven|standings|poison_detector)\.ts$/;
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
