/** A test of something that touches nothing: it runs without any permission. */
export function pureTest(name: string, fn: () => void | Promise<void>): void {
  Deno.test(name, { permissions: "none" }, fn);
}
