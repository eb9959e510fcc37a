import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { ExitError } from "../../../src/base/errors.ts";
import type { Log } from "../../../src/base/log.ts";
import {
  type Credentials,
  EXPIRY_WARNING_MS,
  logValidity,
  readCredentials,
} from "../../../src/mqtt/credentials.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "../../deps.ts";
import { createPki } from "../../support/pki.ts";

const pki = await createPki();
const device = await pki.device();
const other = await pki.device();
const paths = { rootca: "/etc/ca.pem", cert: "/etc/device.pem", key: "/etc/device.key" } as const;

function files(changes: Partial<typeof good> = {}): (path: string) => Promise<string> {
  const all: Record<string, string | undefined> = { ...good, ...changes };
  return (path) => {
    const text = all[Object.entries(paths).find(([, each]) => each === path)![0]];
    return text === undefined || text === "missing"
      ? Promise.reject(new Deno.errors.NotFound(`No such file: ${path}`))
      : Promise.resolve(text);
  };
}

const good = { rootca: pki.ca.certPem, cert: device.certPem, key: device.keyPem };

Deno.test("iotcored-param-rootca, -cert, -key: PEM files are read, with or without a last newline", async () => {
  const trimmed = { rootca: good.rootca.trim(), cert: good.cert.trim(), key: good.key.trim() };
  const read = await readCredentials(paths, files(trimmed));
  assert(read.ca.endsWith("-----\n") && read.cert.endsWith("-----\n") && read.key.endsWith("\n"));
  assertEquals(read.fingerprint.replaceAll(":", "").toLowerCase(), device.fingerprint);
  assert(read.validFrom < Date.now() && Date.now() < read.validTo);
  const chain = await readCredentials(paths, files({ cert: good.cert + pki.ca.certPem }));
  assertEquals(chain.fingerprint, read.fingerprint);
});

Deno.test("EC keys may be PKCS #8 or SEC1, RSA keys PKCS #8 or PKCS #1", async () => {
  const key = createPrivateKey(device.keyPem);
  const sec1 = String(key.export({ type: "sec1", format: "pem" }));
  assertMatch(sec1, /BEGIN EC PRIVATE KEY/);
  const read = await readCredentials(paths, files({ key: sec1 }));
  assertMatch(read.key, /^-----BEGIN PRIVATE KEY/);
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey;
  const pkcs1 = String(rsa.export({ type: "pkcs1", format: "pem" }));
  assertMatch(pkcs1, /BEGIN RSA PRIVATE KEY/);
  // It is read, or else it could not be told that it belongs to another certificate.
  const error = await assertRejects(() => readCredentials(paths, files({ key: pkcs1 })), ExitError);
  assertStringIncludes(error.message, "must belong to the certificate");
});

const encrypted =
  "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
const BAD: readonly (readonly [string, Partial<typeof good>, RegExp])[] = [
  ["no root CA", { rootca: "missing" }, /--rootca \/etc\/ca.pem: it cannot be read \(No such file/],
  ["no certificate", { cert: "missing" }, /--cert \/etc\/device.pem: it cannot be read/],
  ["no key", { key: "missing" }, /--key \/etc\/device.key: it cannot be read/],
  ["junk for the root CA", { rootca: "junk" }, /--rootca .* must be a certificate in PEM/],
  ["an empty certificate", { cert: "" }, /--cert .* must be a certificate in PEM/],
  ["a key for the certificate", { cert: good.key }, /--cert .* must be a certificate in PEM/],
  ["a certificate for the key", { key: good.cert }, /--key .* must be a private key in PEM/],
  ["an encrypted key", { key: encrypted }, /--key .* is encrypted/],
  [
    "a broken certificate",
    { cert: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" },
    /--cert .* cannot be decoded/,
  ],
  [
    "a broken key",
    { key: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" },
    /--key .* cannot be decoded/,
  ],
  [
    "another device's key",
    { key: other.keyPem },
    /--key \/etc\/device.key: it must belong to the certificate \/etc\/device.pem/,
  ],
];

for (const [name, changes, message] of BAD) {
  Deno.test(`${name} is refused with exit code 78, the option and the path`, async () => {
    const error = await assertRejects(() => readCredentials(paths, files(changes)), ExitError);
    assertEquals(error.exit, 78);
    assertMatch(error.message, message);
    assert(!error.message.includes("\n") && !error.message.includes("AAAA"));
  });
}

Deno.test("certificate dates are logged, with a warning when they are over, ahead or near their end", () => {
  const now = Date.UTC(2026, 0, 1);
  const DAY = 86_400_000;
  const cases = [
    [-DAY, EXPIRY_WARNING_MS, "info The certificate is valid"],
    [-DAY, EXPIRY_WARNING_MS - 1, "warn The certificate expires in 29 days"],
    [-DAY, -1, "warn The certificate has expired"],
    [DAY, 2 * DAY, "warn The certificate is not valid yet"],
  ] as const;
  for (const [from, to, expected] of cases) {
    const lines: string[] = [];
    const at = (level: string) => (text: string, fields?: unknown): void => {
      lines.push(`${level} ${text}`, JSON.stringify(fields));
    };
    const log: Log = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
    const credentials = { validFrom: now + from, validTo: now + to } as Credentials;
    logValidity(log, "/etc/device.pem", credentials, now);
    assertEquals(lines[0], expected);
    assertStringIncludes(lines[1]!, new Date(now + to).toISOString());
  }
});
