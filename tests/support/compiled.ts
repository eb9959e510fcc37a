import { type BuildOptions, parseBuildArgs } from "../../src/build/options.ts";
import { build, V8_FLAGS } from "../../src/build/build.ts";
import { type Payload, readPayload } from "../../src/build/payload.ts";

/** A compiled program without Deno's runtime in it. */
export interface Compiled {
  readonly options: BuildOptions;
  readonly payload: Payload;
  /** Runs what is embedded, with the arguments and permissions that are embedded: what the real one does. */
  readonly command: readonly string[];
}

/** Compiles as `deno task compile` does, with Deno itself in the place of its runtime, and unpacks the outcome into a folder. */
export async function compileInto(dir: string, args: readonly string[]): Promise<Compiled> {
  const options = parseBuildArgs(args);
  const output = `${dir}/iotcored`;
  await build(options, output, undefined, Deno.execPath());
  const payload = readPayload(await Deno.readFile(output));
  await Deno.remove(output);
  const program = `${dir}/program`;
  await Deno.mkdir(program);
  for (const [name, bytes] of payload.files) await Deno.writeFile(`${program}/${name}`, bytes);
  const { argv, entrypoint_key: entry, unstable_config: unstable, v8_flags } = payload.metadata;
  const command = [
    Deno.execPath(),
    ...["run", "-q", "--no-config", "--no-lock", "--cached-only"],
    ...unstable.features.map((feature) => `--unstable-${feature}`),
    // Deno puts flags of its own before ours, when it runs a program as when it compiles one.
    `--v8-flags=${v8_flags.slice(-V8_FLAGS.length).join(",")}`,
    ...permissionFlags(payload.metadata.permissions),
    `${program}/${entry}`,
    ...argv,
  ];
  return { options, payload, command };
}

/** `allow_net: ["a", "b"]` is `--allow-net=a,b`, an empty list allows all, `null` nothing. */
function permissionFlags(permissions: Payload["metadata"]["permissions"]): string[] {
  return Object.entries(permissions).flatMap(([name, value]) => {
    if (name === "prompt") return value === false ? ["--no-prompt"] : [];
    if (!Array.isArray(value)) return [];
    const flag = `--${name.replace("_", "-")}`;
    return [value.length === 0 ? flag : `${flag}=${value.join(",")}`];
  });
}
