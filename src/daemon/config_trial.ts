import { type Clock, systemClock, type Timer } from "../base/clock.ts";
import { type ExitError, messageOf } from "../base/errors.ts";
import { readCredentials } from "../mqtt/credentials.ts";
import { openStream } from "../mqtt/tls.ts";
import type { Config } from "../config/resolve.ts";
import { targetOf } from "./target.ts";

/** How long a changed configuration may take to bring a connection, in ms; then the one before is used again. */
export const TRIAL_MS = 30_000;

/** How long until credentials that were just refused are tried again, in ms: provisioning just in time refuses the first connect. */
export const REFUSED_RETRY_MS = 5_000;

/**
 * Reaches the broker of a configuration as far as TLS with its credentials, beside the present link, which is not touched.
 *
 * @throws {ExitError} 78 for a credential file.
 * @throws {ConnectError} For an unknown host, a proxy that refuses, a server certificate that does not verify and the like.
 */
export async function probe(
  config: Config,
  signal: AbortSignal,
  clock: Clock = systemClock,
): Promise<void> {
  const credentials = await readCredentials(config);
  const { stream } = await openStream(targetOf(config, 0), credentials, { clock, signal });
  stream.destroy();
}

/** The time between a changed configuration's first attempt and its first connection, or its end without one. */
export class Trial {
  /** Resolves with why there is no connection, or with `undefined` when there is one or nobody asks any more. */
  readonly outcome: Promise<string | undefined>;
  readonly #clock: Clock;
  readonly #again: () => void;
  readonly #end = Promise.withResolvers<string | undefined>();
  readonly #limit: Timer;
  #retry: Timer | undefined;
  #why = `no connection within ${TRIAL_MS / 1_000} s`;

  /** @param again Tries to connect once more. */
  constructor(clock: Clock, again: () => void) {
    this.#clock = clock;
    this.#again = again;
    this.outcome = this.#end.promise;
    this.#limit = clock.after(TRIAL_MS, () => this.#finish(this.#why));
  }

  /** There is a connection, or nobody asks any more. */
  end(): void {
    this.#finish(undefined);
  }

  /** The broker refused, which may be different in a moment. */
  refused(error: ExitError): void {
    this.#why = messageOf(error);
    this.#retry?.cancel();
    this.#retry = this.#clock.after(REFUSED_RETRY_MS, this.#again);
  }

  #finish(why: string | undefined): void {
    this.#limit.cancel();
    this.#retry?.cancel();
    this.#end.resolve(why);
  }
}
