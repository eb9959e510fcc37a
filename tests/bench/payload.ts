import type { Bench } from "./support/report.ts";

const ROOT = new URL("../../", import.meta.url);

/** The size of what is shipped: `deno task compile:check` takes it and bounds it. */
export async function payload(bench: Bench): Promise<void> {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  if (tasks["compile:check"] === undefined) {
    bench.note("payload: skipped, for there is no task compile:check");
    return;
  }
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "-q", "compile:check"],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const said = new TextDecoder().decode(stdout).trim();
  if (!success) {
    throw new Error(`compile:check: ${said} ${new TextDecoder().decode(stderr).trim()}`);
  }
  bench.note(`payload: ${said.split("\n").at(-1)}`);
}
