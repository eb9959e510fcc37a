import type { Clock, Timer } from "../base/clock.ts";
import { ExitError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import {
  type CredentialPaths,
  type Credentials,
  EXPIRY_WARNING_MS,
  logValidity,
  readCredentials,
  type ReadText,
} from "./credentials.ts";

/** How often files that cannot be used are looked at again while older credentials are in use, in ms. */
export const RETRY_MS = 5_000;

/** How often the end of a certificate is warned about while it is near, in ms. */
export const EXPIRY_REPEAT_MS = 86_400_000;

/** The credential files as they were last of use, for all connections; says once what is to be said of them. */
export class CredentialFiles {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #readText: ReadText | undefined;
  #last: { readonly paths: CredentialPaths; readonly credentials: Credentials } | undefined;
  /** Told when files that could not be used can be used again, so that a rotation that was met halfway is not forgotten. */
  onMended: () => void = () => {};
  #retry: Timer | undefined;
  #daily: Timer | undefined;
  /** What was logged of validity, of root certificates and of a failure to read. */
  #said = { validity: "", leftOut: "", failure: "" };

  /** @param readText `Deno.readTextFile` but for tests */
  constructor(log: Log, clock: Clock, readText?: ReadText) {
    this.#log = log;
    this.#clock = clock;
    this.#readText = readText;
  }

  /**
   * Reads the files; when they cannot be used, for the moment perhaps, what was read of them before stays in use.
   *
   * @throws {ExitError} `Exit.CONFIG`, when nothing was read of them before
   */
  async read(paths: CredentialPaths): Promise<Credentials> {
    try {
      const credentials = await readCredentials(paths, this.#readText);
      this.#last = { paths, credentials };
      this.#said.failure = "";
      this.#cancelRetry();
      this.#report(paths, credentials);
      return credentials;
    } catch (error) {
      const last = this.#last;
      if (!(error instanceof ExitError) || last === undefined) throw error;
      if (last.paths.rootca !== paths.rootca) throw error;
      if (last.paths.cert !== paths.cert || last.paths.key !== paths.key) throw error;
      if (this.#said.failure !== (this.#said.failure = error.message)) {
        this.#log.warn(`${error.message}; the credentials that were read before stay in use`);
      }
      this.#retry ??= this.#clock.after(RETRY_MS, () => void this.#tryAgain(paths));
      return last.credentials;
    }
  }

  /** When the certificate in use ends, in ms since the epoch; `undefined` before one was read. */
  get validTo(): number | undefined {
    return this.#last?.credentials.validTo;
  }

  /** Warns each day of a certificate whose end is near, until {@linkcode close}. */
  warnDaily(): void {
    this.#daily?.cancel();
    this.#daily = this.#clock.after(EXPIRY_REPEAT_MS, () => {
      this.warnDaily();
      const last = this.#last;
      const now = this.#clock.wallNow();
      if (last === undefined || now <= last.credentials.validTo - EXPIRY_WARNING_MS) return;
      logValidity(this.#log, last.paths.cert, last.credentials, now);
    });
  }

  /** Looks at no file any more until the next read, and warns no more. */
  close(): void {
    this.#cancelRetry();
    this.#daily?.cancel();
    this.#daily = undefined;
  }

  #cancelRetry(): void {
    this.#retry?.cancel();
    this.#retry = undefined;
  }

  async #tryAgain(paths: CredentialPaths): Promise<void> {
    const retry = this.#retry;
    const credentials = await readCredentials(paths, this.#readText).catch(toUndefined);
    if (this.#retry !== retry) return;
    this.#retry = undefined;
    if (credentials !== undefined) return this.onMended();
    this.#retry = this.#clock.after(RETRY_MS, () => void this.#tryAgain(paths));
  }

  #report(paths: CredentialPaths, credentials: Credentials): void {
    const { fingerprint, validTo, leftOut } = credentials;
    const now = this.#clock.wallNow();
    const ends = now > validTo - EXPIRY_WARNING_MS;
    // Once per certificate, and once more when its end comes near.
    if (this.#said.validity !== (this.#said.validity = `${fingerprint} ${ends}`)) {
      logValidity(this.#log, paths.cert, credentials, now);
    }
    if (this.#said.leftOut === (this.#said.leftOut = leftOut.join("\n"))) return;
    for (const what of leftOut) this.#log.warn(`A root certificate is left out: ${what}`);
  }
}

function toUndefined(error: unknown): undefined {
  if (!(error instanceof ExitError)) throw error;
}
