import { createPrivateKey } from "node:crypto";
import process from "node:process";
import { onUncaught } from "../../../src/base/uncaught.ts";
import { detached, FaultScope, outside } from "../../../src/mqtt/fault_scope.ts";
import { assertEquals } from "../../deps.ts";
import { waitFor } from "../../support/wait.ts";

/** Scopes, and what each and the program got of what nobody caught. */
function setUp() {
  const heard: string[] = [];
  const scope = (name: string): FaultScope =>
    new FaultScope((error) => heard.push(`${name}: ${(error as Error).message}`));
  const unwatch = onUncaught((error) => heard.push(`program: ${(error as Error).message}`));
  return { heard, scope, [Symbol.dispose]: unwatch };
}

function boom(): never {
  throw new Error("boom");
}

/** A timer whose callback is the runtime's own, and throws. */
function runtimeThrows(): void {
  const fail = createPrivateKey.bind(undefined, "no key");
  setTimeout(fail as () => void, 0);
}

const WAYS: Readonly<Record<string, () => void>> = {
  "a rejected promise": () => void Promise.reject(new Error("boom")),
  "a microtask": () => queueMicrotask(boom),
  "a tick": () => process.nextTick(boom),
  "an async function, after a while": () =>
    void (async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      boom();
    })(),
};

for (const [what, start] of Object.entries(WAYS)) {
  Deno.test(`what ${what} throws belongs to the scope in which it was started`, async () => {
    using place = setUp();
    const one = place.scope("one");
    const two = place.scope("two");
    two.run(start);
    await waitFor("the error", () => place.heard.length > 0);
    assertEquals(place.heard, ["two: boom"]);
    one.settled();
    two.settled();
  });

  Deno.test(`what ${what} throws that was started outside of a scope is the program's`, async () => {
    using place = setUp();
    const scope = place.scope("one");
    scope.run(() => outside(start));
    await waitFor("the error", () => place.heard.length > 0);
    assertEquals(place.heard, ["program: boom"]);
    scope.settled();
  });
}

Deno.test("what a detached function throws does not reach its caller, and is the program's", async () => {
  using place = setUp();
  const scope = place.scope("one");
  scope.run(() => detached(boom));
  await waitFor("the error", () => place.heard.length > 0);
  assertEquals(place.heard, ["program: boom"]);
  scope.settled();
});

Deno.test("what the runtime throws in a timer of its own counts for the attempts under way, and else for the program", async () => {
  using place = setUp();
  const one = place.scope("one");
  const two = place.scope("two");
  one.settled();
  runtimeThrows();
  await waitFor("the error", () => place.heard.length > 0);
  assertEquals(place.heard.map((line) => line.split(":")[0]), ["two"]);
  two.settled();
  runtimeThrows();
  await waitFor("the next one", () => place.heard.length > 1);
  assertEquals(place.heard.map((line) => line.split(":")[0]), ["two", "program"]);
});

Deno.test("what a timer of ours throws is the program's, also while an attempt is under way", async () => {
  using place = setUp();
  const scope = place.scope("one");
  scope.run(() => setTimeout(boom, 0));
  await waitFor("the error", () => place.heard.length > 0);
  assertEquals(place.heard, ["program: boom"]);
  scope.settled();
});
