/**
 * Prints the software bill of materials of a compiled program, CycloneDX 1.6 in JSON, from `deno.lock`: what the program is made of,
 * without what only tests use. The packages that types alone come from are marked as excluded.
 *
 *     deno run --allow-read src/build/sbom.ts >iotcored.cdx.json
 *
 * @module
 */

/** The packages that `deps.ts` imports; `mqtt-packet` comes with `mqtt`. */
const ROOTS = ["jsr:@std/cli", "npm:mqtt"] as const;

interface Locked {
  readonly integrity: string;
  readonly dependencies?: readonly string[];
}

interface Lock {
  readonly version: string;
  readonly jsr: Readonly<Record<string, Locked>>;
  readonly npm: Readonly<Record<string, Locked>>;
}

interface Component {
  readonly type: "library" | "platform";
  readonly "bom-ref": string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly scope: "required" | "excluded";
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

/** The components of a lock file of version 5, by their reference, each after what needs it. */
export function components(lock: Lock): Component[] {
  if (lock.version !== "5") throw new Error(`deno.lock must be of version 5, got ${lock.version}`);
  const found = new Map<string, Component>();
  const waiting = ROOTS.map((root) => keyOf(lock, root));
  for (let key = waiting.shift(); key !== undefined; key = waiting.shift()) {
    if (found.has(key)) continue;
    const [registry, id] = split(key);
    const { integrity, dependencies = [] } = lock[registry][id]!;
    found.set(key, component(registry, id, integrity));
    for (const name of dependencies) {
      waiting.push(keyOf(lock, /^(jsr|npm):/.test(name) ? name : `${registry}:${name}`));
    }
  }
  return [...found.values()];
}

function split(key: string): ["jsr" | "npm", string] {
  const [registry, ...rest] = key.split(":");
  return [registry as "jsr" | "npm", rest.join(":")];
}

/** The lock leaves the version out where there is only one. */
function keyOf(lock: Lock, key: string): string {
  const [registry, wanted] = split(key);
  if (wanted in lock[registry]) return key;
  const ids = Object.keys(lock[registry]).filter((id) => id.startsWith(`${wanted}@`));
  if (ids.length !== 1) throw new Error(`deno.lock must hold one ${key}, got ${ids.length}`);
  return `${registry}:${ids[0]}`;
}

function component(registry: "jsr" | "npm", id: string, integrity: string): Component {
  // Peer dependencies follow an underscore.
  const [, name = "", version = ""] = /^(.+?)@([^@_]+)(?:_.*)?$/.exec(id) ?? [];
  const purl = registry === "npm"
    ? `pkg:npm/${name.replace("@", "%40")}@${version}`
    : `pkg:generic/${name.slice(1)}@${version}?repository_url=https://jsr.io`;
  return {
    type: "library",
    "bom-ref": `${registry}:${id}`,
    name,
    version,
    purl,
    scope: name.startsWith("@types/") || name === "undici-types" ? "excluded" : "required",
    hashes: [hashOf(integrity)],
  };
}

/** npm's integrity is base64 with its algorithm in front, JSR's is SHA-256 in hex. */
function hashOf(integrity: string): { alg: string; content: string } {
  const [, bits, base64] = /^sha(\d+)-(.+)$/.exec(integrity) ?? [];
  if (base64 === undefined) return { alg: "SHA-256", content: integrity };
  const content = Array.from(
    atob(base64),
    (char) => char.charCodeAt(0).toString(16).padStart(2, "0"),
  );
  return { alg: bits === "1" ? "SHA-1" : `SHA-${bits}`, content: content.join("") };
}

/** The software bill of materials, as text. */
export async function bomText(): Promise<string> {
  const read = async (name: string): Promise<string> =>
    await Deno.readTextFile(new URL(`../../${name}`, import.meta.url));
  const { name, version, license } = JSON.parse(await read("deno.json"));
  const deno: Component = {
    type: "platform",
    "bom-ref": "deno",
    name: "deno",
    version: Deno.version.deno,
    purl: `pkg:github/denoland/deno@v${Deno.version.deno}`,
    scope: "required",
  };
  const bom = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": name,
        name,
        version,
        licenses: [{ license: { id: license } }],
      },
    },
    components: [deno, ...components(JSON.parse(await read("deno.lock")))],
  };
  return JSON.stringify(bom, null, 2) + "\n";
}

if (import.meta.main) Deno.stdout.writeSync(new TextEncoder().encode(await bomText()));
