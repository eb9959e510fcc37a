/**
 * Takes the place of the daemon in its thread, and fails in a way that nobody foresaw when it is asked for anything.
 *
 * @module
 */

self.addEventListener("message", () => {
  throw new RangeError("out of its mind");
});
