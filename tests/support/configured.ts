import { call } from "../../src/bus/client.ts";
import { readStatus } from "../../src/status/codec.ts";
import type { Status } from "../../src/status/types.ts";
import { utf8 } from "../../src/base/bytes.ts";
import type { Value } from "../../src/wire/object.ts";
import { type AwsIotCore, startAwsIotCore } from "./aws_iot_core.ts";
import { cSubscribe, type CSubscriber } from "./c_client.ts";
import { exists } from "./exists.ts";
import { type GgConfig, requiredValues, startGgConfig } from "./gg_config.ts";
import { type Pki, type PkiFiles, writePki } from "./pki.ts";
import { type Program, startCommand, startProgram } from "./program.ts";
import { tempDir } from "./temp.ts";
import { waitFor } from "./wait.ts";

/** The program of systemd that plays its part in socket activation. */
export const ACTIVATE = "/usr/bin/systemd-socket-activate";

/** The program with all its configuration from a config service, which it watches, and two brokers to choose from. */
export interface Configured extends AsyncDisposable {
  readonly dir: string;
  readonly files: PkiFiles;
  /** The one that the program is connected to at first. */
  readonly old: AwsIotCore;
  readonly next: AwsIotCore;
  readonly config: GgConfig;
  readonly program: Program;
  readonly socket: string;
  /** A subscriber of `in`, and one of `connection_status`: neither ever connects a second time. */
  readonly subscriber: CSubscriber;
  readonly status: CSubscriber;
  /** What `status` says at this moment. */
  report(): Promise<Status>;
}

/** How {@linkcode startConfigured} starts the program. */
export interface ConfiguredOptions {
  readonly pki: Pki;
  /** By a socket that is passed to it, as systemd does. */
  readonly activated?: boolean;
  /** In place of the program from source; made of the folder and the brokers. */
  readonly command?: (
    dir: string,
    brokers: readonly AwsIotCore[],
  ) => Promise<readonly string[]>;
  /** Further arguments; `{dir}` is the folder. */
  readonly args?: readonly string[];
}

/** Starts everything; the program is connected, subscribed for and watching when this resolves. */
export async function startConfigured(options: ConfiguredOptions): Promise<Configured> {
  const { pki, activated = false, command, args = [] } = options;
  await using stack = new AsyncDisposableStack();
  const { path: dir } = stack.use(await tempDir());
  const files = await writePki(dir, pki);
  const devices = [files.device];
  const old = stack.use(await startAwsIotCore({ pki, devices }));
  const next = stack.use(await startAwsIotCore({ pki, devices }));
  const config = stack.use(await startGgConfig(dir, requiredValues(old, files)));
  const socket = `${dir}/aws_iot_mqtt`;
  const all = ["--bus-dir", dir, ...args.map((arg) => arg.replace("{dir}", dir))];
  const kept = ["DENO_DIR", "NO_COLOR"].filter((name) => Deno.env.has(name));
  const wrapper = activated
    ? [
      ...[ACTIVATE, "--listen", socket, "--fdname", "aws_iot_mqtt"],
      ...kept.flatMap((name) => ["--setenv", name]),
    ]
    : [];
  const program = stack.use(
    command === undefined
      ? await startProgram(all, {}, wrapper)
      : startCommand([...await command(dir, [old, next]), ...all]),
  );
  await waitFor("the socket", () => exists(socket));
  const subscriber = stack.use(
    await cSubscribe(socket, "subscribe", new Map<string, Value>([["topic_filter", utf8("in")]])),
  );
  const status = stack.use(await cSubscribe(socket, "connection_status"));
  await waitFor("the connection", () => status.got.at(-1) === true);
  await waitFor("both watches", () => config.watched.length === 2);
  const moved = stack.move();
  return {
    ...{ dir, files, old, next, config, program, socket, subscriber, status },
    report: async () => readStatus(await call(socket, "status")),
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}
