import { assertEquals } from "../deps.ts";
import { FakeClock } from "../support/fake_clock.ts";
import {
  checkPromiseForm,
  SPOOL_CONTRACT,
  spoolOn,
  STORAGE_CONTRACT,
} from "../support/spool_contract.ts";
import { openDisk } from "../support/spool_disk.ts";
import { tempDir } from "../support/temp.ts";

for (const [name, check] of Object.entries(STORAGE_CONTRACT)) {
  Deno.test(`the disk storage ${name}`, async () => {
    await using dir = await tempDir();
    const { storage, log } = openDisk(dir.path);
    try {
      check(storage);
    } finally {
      storage.close();
    }
    // A salvage would put right what the storage itself did wrong.
    assertEquals(log.lines, []);
  });
}

for (const [name, check] of Object.entries(SPOOL_CONTRACT)) {
  Deno.test(`a spool on disk ${name}`, async () => {
    await using dir = await tempDir();
    const clock = new FakeClock();
    const { storage } = openDisk(dir.path, clock);
    try {
      check(spoolOn(storage, clock));
    } finally {
      storage.close();
    }
  });
}

Deno.test("a spool on disk answers with promises, too", async () => {
  await using dir = await tempDir();
  const clock = new FakeClock();
  const { storage } = openDisk(dir.path, clock);
  await checkPromiseForm(spoolOn(storage, clock));
});
