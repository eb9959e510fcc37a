import { X509Certificate } from "node:crypto";
import { ExitError } from "../base/errors.ts";
import type { Config } from "../config/resolve.ts";
import { type Credentials, EXPIRY_WARNING_MS, readCredentials } from "../mqtt/credentials.ts";
import { checkStep, type Report } from "./check_step.ts";

/** A PEM block of a certificate. */
const CERTIFICATES = /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g;

/**
 * Reads the credential files as the daemon does, and says what they hold.
 *
 * @throws {CheckFailed} when they cannot be used, which was reported
 */
export async function checkFiles(config: Config, report: Report): Promise<Credentials> {
  let credentials: Credentials | undefined;
  await checkStep("files", report, async () => {
    credentials = await readCredentials(config);
    const { text, warnings } = describeFiles(credentials, Date.now());
    const outcome = warnings.length > 0 ? "warning" : "ok";
    return { outcome, text: [...warnings, text].join("; ") };
  }, (error) =>
    error instanceof ExitError
      ? {
        exit: error.exit,
        advice:
          "--rootca, --cert and --key (config keys system/rootCaPath, system/certificateFilePath, system/privateKeyPath) must " +
          "name PEM files that belong together and that this user may read",
      }
      : undefined);
  return credentials!;
}

function describeFiles(
  credentials: Credentials,
  wallNow: number,
): { text: string; warnings: string[] } {
  const { cert, ca, validFrom, validTo, leftOut } = credentials;
  const chain = certificatesIn(cert);
  const until = new Date(validTo).toISOString().slice(0, 10);
  const days = Math.floor((validTo - wallNow) / 86_400_000);
  const warnings = leftOut.map((what) => `a root certificate is left out: ${what}`);
  if (wallNow < validFrom) {
    warnings.push(`the certificate is not valid before ${new Date(validFrom).toISOString()}`);
  }
  if (wallNow > validTo) warnings.push(`the certificate expired on ${until}`);
  else if (wallNow > validTo - EXPIRY_WARNING_MS) {
    warnings.push(`the certificate expires in ${days} days`);
  }
  if (chain.some((one, n) => n > 0 && !chain[n - 1]!.checkIssued(one))) {
    warnings.push(
      "the certificates of --cert are no chain: each must be issued by the one behind it",
    );
  }
  const behind = chain.length === 1 ? "" : `, a chain of ${chain.length} certificates`;
  const roots = certificatesIn(ca).length;
  return {
    text: `the key fits the certificate, valid until ${until}${behind}; ${roots} root certificates`,
    warnings,
  };
}

function certificatesIn(pem: string): X509Certificate[] {
  return [...pem.matchAll(CERTIFICATES)].map(([text]) => new X509Certificate(text));
}
