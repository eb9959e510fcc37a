import { ExitError } from "../../src/base/errors.ts";
import { StorageError } from "../../src/spool/storage.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "../deps.ts";
import { put, readAll, record, spoolOn, topics } from "../support/spool_contract.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { copySpool, namesIn, openDisk } from "../support/spool_disk.ts";
import { tempDir } from "../support/temp.ts";
import { canMount, mountTmpfs } from "../support/tmpfs.ts";

function mode(path: string): string {
  return (Deno.statSync(path).mode! & 0o777).toString(8);
}

Deno.test("the folder is 0700 and its files 0600, made if missing", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/a/b/spool`;
  const { storage } = openDisk(path);
  put(storage, record(1));
  assertEquals(mode(path), "700");
  assertEquals(namesIn(path), ["spool.db", "spool.db-wal", "spool.lock"]);
  for (const name of namesIn(path)) assertEquals([name, mode(`${path}/${name}`)], [name, "600"]);
  storage.close();
});

Deno.test("an open folder of the spool's own is closed to others, a shared one is left alone", async () => {
  await using dir = await tempDir();
  const own = `${dir.path}/own`;
  const shared = `${dir.path}/shared`;
  for (const path of [own, shared]) {
    Deno.mkdirSync(path);
    Deno.chmodSync(path, 0o755);
  }
  Deno.writeTextFileSync(`${shared}/other`, "");
  openDisk(own).storage.close();
  const { storage, log } = openDisk(shared);
  storage.close();
  assertEquals([mode(own), mode(shared)], ["700", "755"]);
  assertMatch(log.lines[0]!, /^warn .*open to others/);
  Deno.chmodSync(`${own}/spool.db`, 0o644);
  openDisk(own).storage.close();
  assertEquals(mode(`${own}/spool.db`), "600");
});

Deno.test("what was stored is there after a restart, with quarantine, numbers and expiry", async () => {
  await using dir = await tempDir();
  const first = openDisk(dir.path);
  const seqs = put(first.storage, record(1), record(2, 0), record(3, 1, { expiresAt: 9e12 }));
  first.storage.quarantine(seqs[0]!, "why");
  const usage = first.storage.usage;
  first.storage.close();
  const { storage } = openDisk(dir.path);
  assertEquals(topics(readAll(storage)), ["t/2", "t/3"]);
  assertEquals(readAll(storage)[1]!.expiresAt, 9e12);
  assertEquals(storage.quarantined()[0]!.reason, "why");
  const { messages, bytes, qos0Bytes } = usage;
  const { messages: m, bytes: b, qos0Bytes: q } = storage.usage;
  assertEquals([m, b, q], [messages, bytes, qos0Bytes]);
  assert(put(storage, record(4))[0]! > seqs[2]!);
  storage.close();
});

Deno.test("a message expires in the spool also across a restart", async () => {
  await using dir = await tempDir();
  const first = openDisk(dir.path);
  const before = spoolOn(first.storage, first.clock);
  before.add(1, { messageExpiry: 60 });
  before.add(2);
  await before.spool.close();
  first.clock.advance(61_000);
  const { storage, clock } = openDisk(dir.path, first.clock);
  const { spool } = spoolOn(storage, clock);
  assertEquals(topics(spool.take(9, Infinity)), ["t/2"]);
  assertEquals(spool.stats().expired, 1);
  await spool.close();
});

Deno.test("what was committed when the process was killed is there", async () => {
  await using dir = await tempDir();
  const { storage } = openDisk(`${dir.path}/spool`);
  for (let n = 0; n < 50; n++) put(storage, record(n));
  copySpool(`${dir.path}/spool`, `${dir.path}/crashed`);
  storage.close();
  const { storage: after, log } = openDisk(`${dir.path}/crashed`);
  assertEquals(readAll(after).length, 50);
  assertEquals(log.lines, []);
  after.close();
});

Deno.test("a second opener gets exit code 73, in this process and in another", async () => {
  await using dir = await tempDir();
  const { storage } = openDisk(dir.path);
  const error = assertThrows(() => openDisk(dir.path), ExitError, "another daemon");
  assertEquals(error.exit, 73);
  const script = `${dir.path}/second.ts`;
  Deno.writeTextFileSync(script, useScript(""));
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-config", "-A", script, dir.path],
  }).output();
  assertEquals(code, 73);
  storage.close();
  openDisk(dir.path).storage.close();
});

Deno.test("a spool of a newer schema is refused with exit code 78 and left as it is", async () => {
  await using dir = await tempDir();
  const { DatabaseSync } = await import("node:sqlite");
  for (const version of [2, 99, 1_000]) {
    const path = `${dir.path}/${version}`;
    openDisk(path).storage.close();
    const db = new DatabaseSync(`${path}/spool.db`);
    db.exec(`PRAGMA user_version = ${version}`);
    db.close();
    const before = Deno.readFileSync(`${path}/spool.db`);
    const error = assertThrows(() => openDisk(path), ExitError);
    assertEquals(error.exit, 78);
    assertMatch(
      error.message,
      new RegExp(`--spool ${path}.*schema must be at most 1, got ${version}`),
    );
    assertEquals(Deno.readFileSync(`${path}/spool.db`), before);
  }
});

Deno.test("a path that is a file, or below one, ends with exit code 73 and one line", async () => {
  await using dir = await tempDir();
  Deno.writeTextFileSync(`${dir.path}/file`, "mine");
  for (const path of [`${dir.path}/file`, `${dir.path}/file/below`]) {
    const error = assertThrows(() => openDisk(path), ExitError);
    assertEquals(error.exit, 73);
    assert(error.message.includes(`--spool ${path}`), error.message);
    assert(!error.message.includes("\n"));
  }
  assertEquals(Deno.readTextFileSync(`${dir.path}/file`), "mine");
});

/** A program that opens the spool named by its argument, uses it and closes it. */
function useScript(use: string): string {
  const src = new URL("../../src/", import.meta.url);
  return `import { openDiskStorage } from "${new URL("spool/sqlite_storage.ts", src)}";
    import { systemClock as clock } from "${new URL("base/clock.ts", src)}";
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    let storage;
    try {
      storage = openDiskStorage({ dir: Deno.args[0], clock, log });
    } catch (error) {
      Deno.exit(error.exit);
    }
    ${use}
    storage.close();`;
}

const ignore = !(await canMount());

Deno.test({
  name: "a full disk refuses with FAILURE, goes on draining, and takes again when there is room",
  ignore,
  fn: async () => {
    await using dir = await tempDir();
    await using _mount = mountTmpfs(dir.path, "size=3m");
    const { storage, clock } = openDisk(`${dir.path}/spool`, new FakeClock(), 1_048_576);
    const { spool, add, turn, log } = spoolOn(storage, clock, 100_000_000);
    const payload = new Uint8Array(20_000);
    const accepted: number[] = [];
    let refused = 0;
    for (let n = 0; n < 300; n++) {
      const code = add(n, { payload });
      if (code === 0) accepted.push(n);
      else {
        assertEquals(code, 1);
        refused++;
      }
    }
    assert(accepted.length > 20 && refused > 20, `${accepted.length} accepted`);
    assertEquals(spool.stats().failed, refused);
    assertEquals(log.lines.filter((line) => line.includes("cannot write to the spool")).length, 1);

    const seen: string[] = [];
    const drain = (): void => {
      for (let b = spool.take(10, Infinity); b.length > 0; b = spool.take(10, Infinity)) {
        for (const one of b) {
          seen.push(one.topic);
          let slot = false;
          spool.settled(one.seq, () => slot = true);
          turn();
          clock.advance(5);
          assert(slot, "the slot is free again");
        }
      }
    };
    drain();
    assertEquals(seen, accepted.map((n) => `t/${n}`));
    spool.rewind();
    assertEquals(spool.take(9, Infinity), [], "what was sent is not sent again");
    assertEquals(spool.stats().messages, 0, "what was sent is removed");
    clock.advance(1_000);
    assertEquals(add(1_001), 0);
    seen.length = 0;
    drain();
    assertEquals(seen.at(-1), "t/1001");
    await spool.close();
    const again = openDisk(`${dir.path}/spool`);
    const left = topics(readAll(again.storage));
    again.storage.close();
    assertEquals(left, []);
  },
});

Deno.test({
  name: "a disk that became read-only refuses with FAILURE and hands out what it holds",
  ignore,
  fn: async () => {
    await using dir = await tempDir();
    await using _mount = mountTmpfs(dir.path, "size=3m");
    const path = `${dir.path}/spool`;
    const made = openDisk(path);
    put(made.storage, record(1));
    made.storage.close();
    await new Deno.Command("mount", { args: ["-o", "remount,ro", dir.path] }).output();
    const error = assertThrows(() => openDisk(path), ExitError);
    assertEquals(error.exit, 73);
    assert(error.message.includes(`--spool ${path}`), error.message);
    await new Deno.Command("mount", { args: ["-o", "remount,rw", dir.path] }).output();
    const again = openDisk(path);
    assertEquals(topics(readAll(again.storage)), ["t/1"]);
    again.storage.close();
  },
});

Deno.test({
  name: "a disk that others have filled refuses until there is room, and hands out what it holds",
  ignore,
  fn: async () => {
    await using dir = await tempDir();
    await using _mount = mountTmpfs(dir.path, "size=3m");
    const path = `${dir.path}/spool`;
    const made = openDisk(path);
    put(made.storage, record(1));
    made.storage.close();
    const hog = Deno.openSync(`${dir.path}/hog`, { write: true, createNew: true });
    assertThrows(() => {
      while (true) hog.writeSync(new Uint8Array(4_096));
    });
    hog.close();
    const { storage, clock, log } = openDisk(path, new FakeClock(), 1_048_576);
    assertMatch(log.lines[0]!, /no room in reserve/);
    const { spool, add, turn } = spoolOn(storage, clock);
    const [one] = spool.take(9, Infinity);
    assertEquals(one!.topic, "t/1");
    assertEquals(add(2), 1);
    spool.settled(one!.seq);
    turn();
    spool.rewind();
    assertEquals(spool.take(9, Infinity), []);
    Deno.removeSync(`${dir.path}/hog`);
    clock.advance(1_000);
    assertEquals(spool.stats().messages, 0, "the removal is tried again");
    assertEquals(add(3), 0);
    assertEquals(topics(spool.take(9, Infinity)), ["t/3"]);
    await spool.close();
  },
});

Deno.test("a closed storage says so", async () => {
  await using dir = await tempDir();
  const { storage } = openDisk(dir.path);
  storage.close();
  storage.close();
  assertThrows(() => put(storage, record(1)), StorageError, "closed");
});

Deno.test("read and write on its folder is all that a spool needs", async () => {
  await using dir = await tempDir();
  const script = `${dir.path}/use.ts`;
  Deno.writeTextFileSync(
    script,
    useScript(`
      const payload = new Uint8Array(9000);
      const one = { topic: "t", payload, qos: 1, acceptedAt: 1 };
      const [seq] = storage.commit({ append: [one], remove: [] });
      storage.quarantine(seq, "why");
      storage.distrust("a test says so");
      if (storage.quarantined().length !== 1) throw new Error("lost");`),
  );
  const path = `${dir.path}/spool`;
  Deno.mkdirSync(path);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-config",
      "--no-prompt",
      `--allow-read=${path}`,
      `--allow-write=${path}`,
      script,
      path,
    ],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
});
