import { tempDir } from "./temp.ts";

/** A small file system of the test's own, or `undefined` where it may not be made. `options` as for `mount -o`. */
export function mountTmpfs(path: string, options: string): AsyncDisposable | undefined {
  const mounted = new Deno.Command("mount", {
    args: ["-t", "tmpfs", "-o", options, "spooltest", path],
    stderr: "null",
  });
  try {
    if (!mounted.outputSync().success) return undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  return {
    [Symbol.asyncDispose]: async () => {
      await new Deno.Command("umount", { args: [path] }).output();
    },
  };
}

/** Whether this user may mount: root may, in most places. */
export async function canMount(): Promise<boolean> {
  await using dir = await tempDir();
  await using mount = mountTmpfs(dir.path, "size=64k");
  return mount !== undefined;
}
