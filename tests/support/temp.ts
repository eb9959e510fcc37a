/** Folders that a compiled program of the tests may use, beside the program: 0, 1, ... */
export const FOLDERS = 12;

/** A temporary folder that goes when its scope ends. */
export interface TempDir extends AsyncDisposable {
  readonly path: string;
}

/**
 * Makes a folder, with a short path because Unix socket paths are limited to 107 bytes. A compiled program is allowed exact paths:
 * with `IOTCORED=PATH` in the environment it is one of those beside the program that nobody uses.
 */
export async function tempDir(): Promise<TempDir> {
  const program = Deno.env.get("IOTCORED");
  const path = program === undefined
    ? await Deno.makeTempDir({ prefix: "iotc-" })
    : await takeFolder(program.slice(0, program.lastIndexOf("/")));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

async function takeFolder(beside: string): Promise<string> {
  for (let number = 0; number < FOLDERS; number++) {
    const path = `${beside}/${number}`;
    try {
      await Deno.mkdir(path, { mode: 0o700 });
      return path;
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
  throw new Error(`Cannot make a folder in ${beside}: all ${FOLDERS} are in use`);
}
