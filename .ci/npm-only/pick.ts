/**
 * Prints the flag that puts the stand-ins in the place of the JSR packages, when those can neither be found in Deno's cache
 * nor fetched; prints nothing otherwise. A task runs it as `deno run $(deno run -q .ci/npm-only/pick.ts) ...`.
 *
 * @module
 */

/** How long JSR may take to answer before it counts as out of reach, in ms. */
const PATIENCE_MS = 5_000;

/** Why the JSR packages cannot be had, or `undefined` when they can. */
async function whyNot(): Promise<string | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no answer within ${PATIENCE_MS} ms`), PATIENCE_MS);
  });
  const load = Promise.all([import("@std/cli/parse-args"), import("@std/assert")])
    .then(() => undefined, (error: Error) => error.message.split("\n")[0]);
  const answer = await Promise.race([load, late]);
  clearTimeout(timer);
  return answer;
}

async function say(to: Pick<typeof Deno.stdout, "write">, line: string): Promise<void> {
  await to.write(new TextEncoder().encode(line + "\n"));
}

const reason = await whyNot();
if (reason !== undefined) {
  await say(Deno.stderr, `JSR cannot be reached (${reason}): using the stand-ins in .ci/npm-only`);
  await say(Deno.stdout, `--import-map=${new URL("import_map.json", import.meta.url).pathname}`);
}
// A request that hangs would keep the process alive after the answer is known.
Deno.exit(0);
