import { assertEquals, assertMatch } from "../deps.ts";
import { type Program, startCommand } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { within } from "../support/wait.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** What the picker must have answered by, in ms. */
const LIMIT_MS = 10_000;

/** A place where JSR might be, as the ways in which it is not. */
interface Registry extends AsyncDisposable {
  readonly url: string;
}

function serving(handler: (request: Request) => Response | Promise<Response>): Registry {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, handler);
  return { url: `http://127.0.0.1:${server.addr.port}`, [Symbol.asyncDispose]: server.shutdown };
}

/** Takes connections, and says nothing. */
function silent(): Registry {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const taken: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const conn of listener) taken.push(conn);
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      for (const conn of taken) conn.close();
    },
  };
}

function refusing(): Registry {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return { url: `http://127.0.0.1:${listener.addr.port}`, async [Symbol.asyncDispose]() {} };
}

/** Sends the beginning of each file, and then nothing more. */
function stopping(): Registry {
  return serving(() => {
    const start = (stream: ReadableStreamDefaultController<Uint8Array>): void =>
      stream.enqueue(new TextEncoder().encode('{"scope":"std",'));
    return new Response(new ReadableStream({ start }));
  });
}

const REGISTRIES: readonly (readonly [how: string, start: () => Registry])[] = [
  ["is silent", silent],
  ["refuses", refusing],
  ["answers 500", () => serving(() => new Response("no", { status: 500 }))],
  ["knows no package", () => serving(() => new Response("no", { status: 404 }))],
  ["stops in the middle", stopping],
];

for (const [how, start] of REGISTRIES) {
  Deno.test(`the stand-ins are picked, and one line says why, when JSR ${how}`, async () => {
    await using dir = await tempDir();
    await using registry = start();
    await using picker: Program = startCommand(
      [Deno.execPath(), "run", "-q", ".ci/npm-only/pick.ts"],
      { DENO_DIR: dir.path, JSR_URL: registry.url },
    );
    assertEquals(await within("the picker to decide", picker.exited, LIMIT_MS), 0, picker.log());
    assertEquals(picker.output(), `--import-map=${ROOT}.ci/npm-only/import_map.json\n`);
    assertMatch(
      picker.log(),
      /^Using the stand-ins in \.ci\/npm-only: JSR cannot be reached \(.+\)\n$/,
    );
  });
}
