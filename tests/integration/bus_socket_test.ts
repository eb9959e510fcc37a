import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
} from "../deps.ts";
import { systemClock } from "../../src/base/clock.ts";
import { Exit, ExitError } from "../../src/base/errors.ts";
import { call as callBus } from "../../src/bus/client.ts";
import { call } from "../../src/bus/methods.ts";
import { type BusServer, startServer } from "../../src/bus/server.ts";
import { MemoryLog } from "../unit/bus/harness.ts";
import { tempDir } from "../support/temp.ts";

function start(path: string, name = "first"): Promise<BusServer> {
  const table = { who: call({}, () => new TextEncoder().encode(name)) };
  return startServer({ path, table, clock: systemClock, log: new MemoryLog() });
}

async function who(path: string): Promise<string> {
  const value = await callBus(path, "who");
  assert(value instanceof Uint8Array);
  return new TextDecoder().decode(value);
}

async function refused(path: string, what: string): Promise<void> {
  const error = await assertRejects(() => start(path, "second"));
  assertInstanceOf(error, ExitError);
  assertEquals(error.exit, Exit.CANTCREATE);
  assertStringIncludes(error.message, path);
  assertStringIncludes(error.message, what);
  assertEquals(error.message.includes("\n"), false);
}

function names(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
}

Deno.test("the socket is there with mode 0660, its folder is made, and all of it goes at the end", async () => {
  await using dir = await tempDir();
  const bus = `${dir.path}/a/bus`;
  const server = await start(`${bus}/iface`);
  assertEquals((await Deno.lstat(`${bus}/iface`)).mode! & 0o777, 0o660);
  assertEquals((await Deno.lstat(`${bus}/.iface`)).mode! & 0o777, 0o700);
  assertEquals(await who(`${bus}/iface`), "first");
  await server.close();
  assertEquals(names(bus), []);
  const again = await start(`${bus}/iface`, "again");
  assertEquals(await who(`${bus}/iface`), "again");
  await again.close();
});

Deno.test("the socket is never open to others, not even for a moment", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/iface`;
  const source = `
    const seen = new Set();
    const until = performance.now() + 10_000;
    self.onmessage = () => {};
    postMessage("watching");
    while (performance.now() < until) {
      try { seen.add((Deno.lstatSync(${JSON.stringify(path)}).mode & 0o777).toString(8)); } catch {}
      try { Deno.lstatSync(${JSON.stringify(`${dir.path}/stop`)}); break; } catch {}
    }
    postMessage([...seen]);
  `;
  const url = URL.createObjectURL(new Blob([source], { type: "application/javascript" }));
  const worker = new Worker(url, { type: "module" });
  const messages: unknown[] = [];
  const watching = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  worker.onmessage = ({ data }) => {
    messages.push(data);
    (data === "watching" ? watching : done).resolve();
  };
  await watching.promise;
  for (let round = 0; round < 30; round++) {
    const server = await start(path);
    await server.close();
  }
  await Deno.writeTextFile(`${dir.path}/stop`, "");
  await done.promise;
  worker.terminate();
  URL.revokeObjectURL(url);
  assertEquals(messages, ["watching", ["660"]]);
});

Deno.test("a private folder that a crash left behind, open to all, is taken over and closed", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/iface`;
  await Deno.mkdir(`${dir.path}/.iface`, { mode: 0o777 });
  await Deno.chmod(`${dir.path}/.iface`, 0o777);
  await Deno.writeTextFile(`${dir.path}/.iface/lock`, "");
  await Deno.writeTextFile(`${dir.path}/.iface/s`, "");
  const server = await start(path);
  assertEquals((await Deno.lstat(`${dir.path}/.iface`)).mode! & 0o777, 0o700);
  assertEquals(await who(path), "first");
  await server.close();
  assertEquals(names(dir.path), []);
});

Deno.test("a dead socket is replaced", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/iface`;
  const dead = Deno.listen({ transport: "unix", path: `${dir.path}/dead` });
  await Deno.rename(`${dir.path}/dead`, path);
  dead.close();
  assert((await Deno.lstat(path)).isSocket);
  const server = await start(path);
  assertEquals(await who(path), "first");
  await server.close();
});

Deno.test("a live socket of another program is left alone: 73", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/iface`;
  using listener = Deno.listen({ transport: "unix", path });
  await refused(path, "another daemon is running");
  assertEquals(names(dir.path), ["iface"]);
  // The probe is still in its queue, then comes this client.
  using client = await Deno.connect({ transport: "unix", path });
  using probe = await listener.accept();
  using server = await listener.accept();
  assertEquals(await probe.read(new Uint8Array(1)), null);
  await client.write(Uint8Array.of(7));
  const bytes = new Uint8Array(1);
  await server.read(bytes);
  assertEquals(bytes[0], 7);
});

Deno.test("a second daemon gets 73 and leaves the first undisturbed", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/iface`;
  const server = await start(path);
  await refused(path, "another daemon is running");
  assertEquals(await who(path), "first");
  await server.close();
});

Deno.test("of daemons that start at the same moment exactly one wins", async () => {
  await using dir = await tempDir();
  for (let round = 0; round < 10; round++) {
    const path = `${dir.path}/iface${round}`;
    const results = await Promise.allSettled(["a", "b", "c", "d"].map((name) => start(path, name)));
    const won = results.flatMap((result, at) => result.status === "fulfilled" ? [at] : []);
    assertEquals(won.length, 1);
    assertEquals(await who(path), "abcd"[won[0]!]);
    for (const result of results) {
      if (result.status === "fulfilled") await result.value.close();
      else assertInstanceOf(result.reason, ExitError);
    }
    assertEquals(names(dir.path), []);
  }
});

Deno.test("daemons that start while another stops end as one or none, and nothing is left", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/iface`;
  for (let round = 0; round < 20; round++) {
    const first = await start(path);
    const [, ...others] = await Promise.allSettled([
      first.close(),
      start(path, "b"),
      start(path, "c"),
    ]);
    const won = others.filter((result) => result.status === "fulfilled");
    assert(won.length <= 1);
    if (won.length === 1) {
      assert(["b", "c"].includes(await who(path)));
      await won[0]!.value.close();
    }
    assertEquals(names(dir.path), []);
  }
});

Deno.test("a file, a directory and a symbolic link in the socket's place are refused and untouched", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/iface`;
  await Deno.writeTextFile(path, "precious");
  await refused(path, "a file is in its place");
  assertEquals(await Deno.readTextFile(path), "precious");
  await Deno.remove(path);

  await Deno.mkdir(path);
  await refused(path, "a directory is in its place");
  await Deno.remove(path);

  await Deno.symlink(`${dir.path}/nowhere`, path);
  await refused(path, "a symbolic link is in its place");
  assertEquals(await Deno.readLink(path), `${dir.path}/nowhere`);
  assertEquals(names(dir.path), ["iface"]);
});

Deno.test("a symbolic link in the place of the private folder is refused", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/elsewhere`);
  await Deno.symlink(`${dir.path}/elsewhere`, `${dir.path}/.iface`);
  await refused(`${dir.path}/iface`, "must be a directory of its own");
  assertEquals(names(`${dir.path}/elsewhere`), []);
});

Deno.test("a folder that cannot be written is one line that names the socket", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/file`, "");
  await refused(`${dir.path}/file/iface`, "Not a directory");
  await Deno.symlink(`${dir.path}/nowhere`, `${dir.path}/link`);
  await refused(`${dir.path}/link/iface`, "File exists");
  // Root may write anywhere.
  if (Deno.uid() === 0) return;
  await Deno.mkdir(`${dir.path}/closed`, { mode: 0o500 });
  await refused(`${dir.path}/closed/iface`, "Permission denied");
});

Deno.test("a path that is too long for a socket says how long it may be", async () => {
  await using dir = await tempDir();
  const most = 104;
  const room = most - dir.path.length - 1;
  await refused(`${dir.path}/${"x".repeat(room + 1)}`, "at most 104 bytes, got 105");
  assertEquals(names(dir.path), []);
  const path = `${dir.path}/${"x".repeat(room)}`;
  const server = await start(path);
  assertEquals(await who(path), "first");
  await server.close();
});

Deno.test("at the end a socket that is another daemon's by now stays", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/iface`;
  const server = await start(path);
  await Deno.remove(path);
  using _other = Deno.listen({ transport: "unix", path });
  await server.close();
  assert((await Deno.lstat(path)).isSocket);
});
