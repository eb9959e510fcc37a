import { assert, assertEquals } from "../../deps.ts";
import { type Bound, BOUNDS } from "../../../src/daemon/bounds.ts";

const SRC = new URL("../../../src/", import.meta.url);

/** Constants that look like bounds and bound no queue: sizes of single things, of buffers, and limits of time. */
const NO_QUEUES = [
  // One message, path, name, reason or number of each kind.
  "MAX_TOPIC_BYTES MAX_TOPIC_SLASHES MAX_STRING_BYTES MAX_PAYLOAD_BYTES MAX_DEPTH MAX_ID MAX_EXPIRY_S",
  "MAX_REASON_LENGTH MAX_REASON_BYTES MAX_LOGGED_CHARACTERS MAX_SOCKET_PATH_BYTES MAX_LOCAL",
  "MAX_LOG_WINDOW_MS MAX_REMOVAL_MS MAX_INT32 MAX_INTEGER",
  // Files, and parts of them.
  "MAX_SEGMENT_BYTES MAX_DAMAGED_FILES",
  // The same bound under another name.
  "MAX_WAITING_BYTES",
  // Of the tools and of the client library, which run in processes of their own.
  "MAX_UNANSWERED_BYTES",
].flatMap((line) => line.split(" "));

async function* sources(dir: URL): AsyncGenerator<URL> {
  for await (const entry of Deno.readDir(dir)) {
    const url = new URL(entry.name + (entry.isDirectory ? "/" : ""), dir);
    if (entry.isDirectory) yield* sources(url);
    else if (entry.name.endsWith(".ts")) yield url;
  }
}

Deno.test("every constant that is the most of something is in the table of bounds, or bounds no queue", async () => {
  const table = await Deno.readTextFile(new URL("daemon/bounds.ts", SRC));
  const missing: string[] = [];
  let found = 0;
  for await (const url of sources(SRC)) {
    for (
      const [, name] of (await Deno.readTextFile(url)).matchAll(/^(?:export )?const (MAX_\w+) =/gm)
    ) {
      found++;
      const named = new RegExp(`\\bmost: ${name}\\b`).test(table) || NO_QUEUES.includes(name!);
      if (!named) missing.push(`${url.pathname}: ${name}`);
    }
  }
  assertEquals(missing, []);
  assert(found >= 20, `only ${found} constants were found: the search is broken`);
});

Deno.test("every bound says of what, how many, and what happens then", () => {
  for (const [name, bound] of Object.entries<Bound>(BOUNDS)) {
    const { of, most, then } = bound;
    assert(of !== "" && then !== "" && Number.isSafeInteger(most) && most > 0, name);
  }
});
