/** Takes an error that nothing caught, if it knows what it belongs to and can fail that alone. */
export type Claim = (error: unknown) => boolean;

const claims = new Set<Claim>();

/** Has every error that nothing caught shown to `claim` first, in the async context in which it was thrown, if it has one. */
export function claimUncaught(claim: Claim): void {
  claims.add(claim);
}

/**
 * Hears of errors and rejections that nothing caught and nobody claims, in this thread: after a bug like that nothing is known for
 * sure. Only the first counts, as others tend to follow from it. Without this, Deno ends the program by itself, with 1.
 *
 * @returns what takes it back
 */
export function onUncaught(handle: (error: unknown) => void): () => void {
  let heard = false;
  const hear = (event: Event, error: unknown): void => {
    event.preventDefault();
    for (const claim of claims) {
      if (claim(error)) return;
    }
    if (heard) return;
    heard = true;
    handle(error);
  };
  const onError = (event: ErrorEvent): void => hear(event, event.error);
  const onRejection = (event: PromiseRejectionEvent): void => hear(event, event.reason);
  globalThis.addEventListener("error", onError);
  globalThis.addEventListener("unhandledrejection", onRejection);
  return () => {
    globalThis.removeEventListener("error", onError);
    globalThis.removeEventListener("unhandledrejection", onRejection);
  };
}
