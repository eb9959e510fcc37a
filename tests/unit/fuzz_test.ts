import { assert, assertEquals } from "../deps.ts";
import { call } from "../../src/bus/methods.ts";
import { buffer } from "../../src/bus/params.ts";
import { fuzz, type Outcome } from "../fuzz/run.ts";
import { SessionTarget } from "../fuzz/sessions.ts";
import { targets } from "../fuzz/targets.ts";
import { Random } from "../support/random.ts";

const FIXTURES = new URL("../fixtures/", import.meta.url);

/** Inputs that were a finding once (`fuzz-*.bin`), and the damaged frames. */
async function* fixtures(): AsyncGenerator<[name: string, input: Uint8Array<ArrayBuffer>]> {
  for await (const { name } of Deno.readDir(FIXTURES)) {
    if (name.endsWith(".bin")) yield [name, await Deno.readFile(new URL(name, FIXTURES))];
  }
}

function messages({ findings }: Outcome): string[] {
  return findings.map(({ error, input }) => `${error}: ${input.toHex()}`);
}

for (const target of targets()) {
  Deno.test(`fuzz: 3,000 inputs break nothing of the ${target.name}, and reach what is good and bad`, async () => {
    const outcome = await fuzz(target, 3_000, 1);
    assertEquals(messages(outcome), []);
    assert(outcome.counts.size >= 3, JSON.stringify([...outcome.counts]));
  });

  Deno.test(`fuzz: no input that was found or damaged before breaks anything of the ${target.name}`, async () => {
    let tried = 0;
    for await (const [name, input] of fixtures()) {
      tried++;
      try {
        await target.run(input, new Random(1));
      } catch (error) {
        throw new Error(name, { cause: error });
      }
    }
    assert(tried > 20, `only ${tried} inputs were found`);
  });
}

Deno.test("fuzz: a bug in a method is found", async () => {
  const publish = call({ topic: buffer }, ({ topic }) => {
    if (topic.length > 20) throw new TypeError("planted");
    return null;
  });
  const { findings } = await fuzz(new SessionTarget({ publish }), 3_000, 1);
  assertEquals(findings.length, 1);
  assert(String(findings[0]!.error).includes("planted"));
});
