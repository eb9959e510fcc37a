import { MemoryStorage } from "../../../src/spool/memory_storage.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import {
  checkPromiseForm,
  SPOOL_CONTRACT,
  spoolOn,
  STORAGE_CONTRACT,
} from "../../support/spool_contract.ts";

for (const [name, check] of Object.entries(STORAGE_CONTRACT)) {
  Deno.test(
    `the memory storage ${name}`,
    { permissions: "none" },
    () => check(new MemoryStorage()),
  );
}

for (const [name, check] of Object.entries(SPOOL_CONTRACT)) {
  Deno.test(
    `a spool in memory ${name}`,
    { permissions: "none" },
    () => check(spoolOn(new MemoryStorage(), new FakeClock())),
  );
}

Deno.test("a spool in memory answers with promises, too", { permissions: "none" }, async () => {
  await checkPromiseForm(spoolOn(new MemoryStorage(), new FakeClock()));
});
