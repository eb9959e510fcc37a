/** The scenario of the first light: publish, notify, subscribe, status, link cut, link back, subscriptions still there. */

import { assertEquals, assertRejects } from "../deps.ts";
import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import type { MqttVersion } from "../../src/mqtt/link.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import {
  type Broker,
  connected,
  LARGEST,
  listen,
  type Listener,
  listenToStatus,
  publish,
  publishParams,
  startTestDaemon,
} from "../support/daemon.ts";
import { mosquittoAvailable, startMosquitto } from "../support/mosquitto.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

/** A broker whose link can be cut. */
interface Cuttable extends Broker, AsyncDisposable {
  cut(): Promise<void>;
  restore(): Promise<void>;
  /** Fails if the broker has something to say against the daemon. */
  check(): void;
}

const brokers: Record<string, { available: boolean; start(): Promise<Cuttable> }> = {
  "the stand-in": {
    available: true,
    start: async () => {
      const core = await startAwsIotCore();
      return {
        host: core.host,
        port: core.port,
        pki: core.pki,
        register: (device) => core.register(device),
        cut: () => core.close(),
        restore: () => core.reopen(),
        check: () => assertEquals(core.violations, []),
        [Symbol.asyncDispose]: () => core[Symbol.asyncDispose](),
      };
    },
  },
  mosquitto: {
    available: mosquittoAvailable(),
    start: async () => {
      const broker = await startMosquitto();
      return {
        ...broker,
        cut: () => broker.stop(),
        restore: () => broker.start(),
        check: () => {},
      };
    },
  },
};

async function scenario(broker: Cuttable, socket: string): Promise<void> {
  await using status = await listenToStatus(socket);
  await status.until(true);
  // Filters that overlap are elsewhere: with MQTT 5, mosquitto sends a copy for each of them.
  await using all = await listen(socket, "scene/+");
  await using some = await listen(socket, ["scene/+", "other/#"], { qos: 0 });
  await using virtual = await listen(socket, "scene/called", { virtual: true });

  await useAllWays(socket, all, some, virtual);
  await carryTheLargest(socket, all, some);

  await broker.cut();
  await status.until(false);
  await publish(socket, { topic: "scene/called", payload: "offline", qos: 1 });
  const refusal = await assertRejects(
    () => publish(socket, { topic: "scene/called", qos: 0 }),
    BusError,
  );
  assertEquals(refusal.code, BusErrorCode.NOCONN);
  await using late = await listen(socket, "late/+");

  await broker.restore();
  await status.until(true);
  await publish(socket, { topic: "late/1", payload: "late", qos: 0 });
  await publish(socket, { topic: "other/a/b", payload: "other", qos: 1 });
  await publish(socket, { topic: "scene/called", payload: "again", qos: 1 });
  await untilTexts(all, ["call 0", "call 1", "notified", "", "offline", "again"]);
  await untilTexts(some, ["call 0", "call 1", "notified", "", "offline", "other", "again"]);
  await untilTexts(virtual, ["call 0", "call 1", "offline", "again"]);
  await untilTexts(late, ["late"]);
  assertEquals(status.heard, [...status.heard[0] ? [] : [false], true, false, true]);
  broker.check();
}

async function useAllWays(
  socket: string,
  all: Listener,
  some: Listener,
  virtual: Listener,
): Promise<void> {
  assertEquals(await publish(socket, { topic: "scene/called", payload: "call 0", qos: 0 }), null);
  assertEquals(await publish(socket, { topic: "scene/called", payload: "call 1", qos: 1 }), null);
  await untilTexts(some, ["call 0", "call 1"]);
  await untilTexts(virtual, ["call 0", "call 1"]);
  await using client = await connected(socket);
  await client.notify("publish", publishParams({ topic: "scene/notified", payload: "notified" }));
  await untilTexts(all, ["call 0", "call 1", "notified"]);
}

async function carryTheLargest(socket: string, ...listeners: Listener[]): Promise<void> {
  const payload = Uint8Array.from({ length: LARGEST }, (_, index) => index % 251);
  await publish(socket, { topic: "scene/large", payload, qos: 1 });
  for (const { messages } of listeners) {
    const large = await waitFor(
      "the largest payload to come back",
      () => messages.find(({ topic }) => topic === "scene/large"),
    );
    assertEquals(large.payload.length, LARGEST);
    assertEquals(large.payload.every((byte, index) => byte === payload[index]), true);
    // In the account of the rest it is an empty text.
    messages[messages.indexOf(large)] = { ...large, payload: new Uint8Array(0) };
  }
}

async function untilTexts(listener: Listener, expected: readonly string[]): Promise<void> {
  await waitFor(
    `${expected.length} messages`,
    () => listener.messages.length >= expected.length,
  ).catch(() => {});
  assertEquals(listener.texts(), [...expected]);
}

for (const [name, { available, start }] of Object.entries(brokers)) {
  if (!available) {
    Deno.stderr.writeSync(
      new TextEncoder().encode(`${name} is not installed: its part of the scenario is skipped\n`),
    );
  }
  for (const version of ["5", "3.1.1"] as const satisfies readonly MqttVersion[]) {
    Deno.test({
      name: `clients publish, notify and subscribe, before and after a link is cut: ${name}, ` +
        `MQTT ${version} (iotcored-1, iotcored-2, iotcored-3)`,
      ignore: !available,
      fn: async () => {
        await using broker = await start();
        await using daemon = await startTestDaemon(broker, { mqttVersion: version });
        await scenario(broker, daemon.socket);
      },
    });
  }
}

Deno.test("the same scenario with the daemon as a process of its own, which stops on SIGTERM with 0", async () => {
  await using dir = await tempDir();
  await using broker = await brokers["the stand-in"]!.start();
  const files = await writePki(dir.path, broker.pki);
  broker.register?.(files.device);
  await using program = await startProgram(daemonArgs(broker, files, `${dir.path}/bus`));
  await program.logged("serving the core bus");
  await scenario(broker, `${dir.path}/bus/aws_iot_mqtt`);
  program.signal("SIGTERM");
  assertEquals(await within("the program to end", program.exited), 0);
  assertEquals(await names(`${dir.path}/bus`), []);
});

async function names(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name);
}
