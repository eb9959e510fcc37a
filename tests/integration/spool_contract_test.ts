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
    await using disk = await openDisk(dir.path);
    await check(disk.storage);
    assertEquals(disk.log.lines, []);
  });
}

for (const [name, check] of Object.entries(SPOOL_CONTRACT)) {
  Deno.test(`a spool on disk ${name}`, async () => {
    await using dir = await tempDir();
    const clock = new FakeClock();
    await using disk = await openDisk(dir.path, clock);
    const test = spoolOn(disk.storage, clock);
    await check(test);
    await test.spool.close();
  });
}

Deno.test("a spool on disk answers with promises, too", async () => {
  await using dir = await tempDir();
  const clock = new FakeClock();
  const { storage } = await openDisk(dir.path, clock);
  await checkPromiseForm(spoolOn(storage, clock));
});
