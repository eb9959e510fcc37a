/**
 * `deno task fuzz:poison [HISTORIES] [SEED]`: random histories of good and bad packets against a broker that closes for the bad ones,
 * over a good network and over one that cuts the link; 10,000 of each by default. The unit tests run the first thousand.
 *
 * @module
 */

import { say } from "../dev/say.ts";
import { BAD_NETWORK, GOOD_NETWORK, run } from "../unit/publish/poison_model.ts";

const [histories, firstSeed] = [Number(Deno.args[0] ?? 10_000), Number(Deno.args[1] ?? 1)];
let failures = 0;
for (const [name, network] of Object.entries({ good: GOOD_NETWORK, bad: BAD_NETWORK })) {
  const started = performance.now();
  const closesForOne: number[] = [];
  let closes = 0;
  let cuts = 0;
  let longestMs = 0;
  for (let seed = firstSeed; seed < firstSeed + histories; seed++) {
    const outcome = run({ seed, ...network });
    const { innocents, missed, lost, mostForOne } = outcome;
    closes += outcome.closes;
    cuts += outcome.cuts;
    longestMs = Math.max(longestMs, outcome.longestMs);
    closesForOne[mostForOne] = (closesForOne[mostForOne] ?? 0) + 1;
    if (innocents.length + missed.length + lost.length === 0) continue;
    failures++;
    say(`seed ${seed}, ${name} network: ${JSON.stringify(outcome)}`);
  }
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  say(
    `${name} network, seeds ${firstSeed} to ${
      firstSeed + histories - 1
    }: ${closes} closes by the broker, ${cuts} by the network; ` +
      `histories by the closes for one culprit: ${
        Array.from(closesForOne, (n) => n ?? 0).join(" ")
      }; ` +
      `the longest wait of a good message was ${(longestMs / 1_000).toFixed(1)} s; ${seconds} s`,
  );
}
say(failures === 0 ? "nothing found" : `${failures} histories went wrong`);
if (failures > 0) Deno.exit(1);
