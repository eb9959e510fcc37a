import { Account } from "../fleet/account.ts";
import { Fleet } from "../fleet/fleet.ts";
import { isMet, rows, storm } from "../fleet/scenes.ts";
import { Timers } from "../fleet/timers.ts";
import { Random } from "../support/random.ts";
import { assert, assertEquals } from "../deps.ts";

const pure = { permissions: "none" } as const;

Deno.test("600 devices that share an account keep to every bound of the table", pure, async () => {
  const seen = await Array.fromAsync(rows(600, (scene) => new Fleet(scene).run()));
  assertEquals(seen.filter((row) => !isMet(row)), []);
  assertEquals(seen.length, 20);
});

Deno.test("the same seed gives the same figures, and another one others", pure, () => {
  const run = (seed: number): unknown =>
    new Fleet({ ...storm(200, "silence"), backlog: 50, seed }).run();
  assertEquals(run(1), run(1));
  assert(JSON.stringify(run(1)) !== JSON.stringify(run(2)));
});

Deno.test("an account takes what its quota allows in each second, and no more", pure, () => {
  const account = new Account({ connects: 2, publishes: 3 });
  const taken = [0, 999, 999.9, 1_000, 1_500].map((now) => account.connects(now));
  assertEquals(taken, [true, true, false, true, true]);
  assertEquals([1_600, 1_600, 1_600, 1_600].map((now) => account.publishes(now)), [
    true,
    true,
    true,
    false,
  ]);
});

Deno.test("timers fire in the order of their times, however they were set", pure, () => {
  const random = new Random(3);
  const timers = new Timers(50);
  const set = new Map<number, number>();
  for (let i = 0; i < 5_000; i++) {
    const owner = random.int(50);
    const at = random.int(10) === 0 ? Infinity : random.int(1_000);
    timers.set(owner, at);
    if (at === Infinity) set.delete(owner);
    else set.set(owner, at);
    const earliest = Math.min(...set.values());
    assertEquals(timers.nextAt, earliest);
    if (random.int(3) > 0 || set.size === 0) continue;
    const taken = timers.take();
    assertEquals(set.get(taken), earliest);
    set.delete(taken);
  }
});
