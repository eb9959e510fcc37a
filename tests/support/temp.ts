/** A temporary folder that goes when its scope ends. */
export interface TempDir extends AsyncDisposable {
  readonly path: string;
}

/** Makes a folder, with a short path because Unix socket paths are limited to 107 bytes. */
export async function tempDir(): Promise<TempDir> {
  const path = await Deno.makeTempDir({ prefix: "iotc-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}
