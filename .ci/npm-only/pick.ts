/**
 * Prints the flag that puts the stand-ins in the place of the JSR packages, when those can neither be found in Deno's cache nor
 * fetched within 2.5 s; prints nothing otherwise. One line on standard error says which, and why. A task runs it as
 * `deno run $(deno run -q .ci/npm-only/pick.ts) ...`.
 *
 * @module
 */

/** How long JSR may take, in ms: with the start of Deno the answer is there within 3 s. */
const LIMIT_MS = 2_500;

/** What the project imports from JSR. Names that are not written in `import()` itself are not loaded before this program runs. */
const MODULES: readonly string[] = ["@std/cli/parse-args", "@std/assert"];

/** Why the JSR packages cannot be had, or `undefined` when they are in the cache, whole. */
async function whyNot(): Promise<string | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no answer within ${LIMIT_MS} ms`), LIMIT_MS);
  });
  const load = Promise.all(MODULES.map((name) => import(name)))
    .then(() => undefined, (error: Error) => error.message.split("\n")[0]);
  const answer = await Promise.race([load, late]);
  clearTimeout(timer);
  return answer;
}

async function say(to: Pick<typeof Deno.stdout, "write">, line: string): Promise<void> {
  await to.write(new TextEncoder().encode(line + "\n"));
}

const reason = await whyNot();
if (reason === undefined) {
  await say(Deno.stderr, "Using the JSR packages: they are in Deno's cache");
} else {
  await say(Deno.stderr, `Using the stand-ins in .ci/npm-only: JSR cannot be reached (${reason})`);
  await say(Deno.stdout, `--import-map=${new URL("import_map.json", import.meta.url).pathname}`);
}
// A request that hangs would keep the process alive after the answer is known.
Deno.exit(0);
