import { createPrivateKey } from "node:crypto";
import { ExitError } from "../../../src/base/errors.ts";
import { type Credentials, readCredentials } from "../../../src/mqtt/credentials.ts";
import { readPem } from "../../../src/mqtt/pem.ts";
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertMatch,
  assertRejects,
} from "../../deps.ts";
import { createPki } from "../../support/pki.ts";

const pki = await createPki();
const other = await pki.otherCa();
const device = await pki.device();

const CA = pki.ca.certPem;
const CA2 = other.certPem;
const CERT = device.certPem;
const KEY = device.keyPem;
const privateKey = createPrivateKey(KEY);
const SEC1 = String(privateKey.export({ type: "sec1", format: "pem" }));
const ENCRYPTED = String(
  privateKey.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "secret" }),
);
const EC_PARAMETERS =
  "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
/** No DER within, but base64. */
const NOT_DER = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const NOT_BASE64 = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
const NO_KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
const OPENSSH =
  "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n";

const crlf = (text: string): string => text.replaceAll("\n", "\r\n");
const relabel = (text: string, from: string, to: string): string => text.replaceAll(from, to);
const withoutEnd = (text: string): string => text.replace(/-----END .*\n/, "");
/** One line of base64, and lines of a length of one's own. */
const inLines = (text: string, length: number): string => {
  const [, begin = "", body = "", end = ""] = /^(-.*-\n)([^]*?)(-.*-\n)$/.exec(text) ?? [];
  const parts = body.replaceAll("\n", "").match(new RegExp(`.{1,${length}}`, "g")) ?? [];
  return `${begin}${parts.join("\n")}\n${end}`;
};
/** The body goes on behind the end of the DER. */
const lengthened = (text: string, label: string): string => {
  const [block] = readPem(text);
  assert(block !== undefined && "base64" in block.content);
  const der = atob(block.content.base64) + "\x30\x03\x02\x01\x01";
  return `-----BEGIN ${label}-----\n${btoa(der)}\n-----END ${label}-----\n`;
};
const TEXT = "Certificate:\n    Data:\n        Version: 3 (0x2)\n        Subject: CN=device\n";

type Use = "rootca" | "cert" | "key";

/**
 * What is expected: `read` with as many certificates as there are, `leaves out` the blocks of these numbers, or 78 with words
 * behind `Cannot use --option /path: it `.
 */
type Expected = { read: number } | { read: number; leavesOut: number[] } | { refused: RegExp };

const TABLE: readonly (readonly [what: string, use: Use, text: string, expected: Expected])[] = [
  ["one certificate", "rootca", CA, { read: 1 }],
  ["several certificates", "rootca", CA + CA2, { read: 2 }],
  ["the same certificate twice", "rootca", CA + CA, { read: 2 }],
  ["no last newline", "rootca", CA.trimEnd(), { read: 1 }],
  ["line ends of Windows", "rootca", crlf(CA + CA2), { read: 2 }],
  ["line ends of an old Mac", "rootca", CA.replaceAll("\n", "\r"), { read: 1 }],
  ["a byte order mark", "rootca", "\uFEFF" + CA, { read: 1 }],
  ["a byte order mark and line ends of Windows", "rootca", "\uFEFF" + crlf(CA), { read: 1 }],
  ["comments between blocks", "rootca", `# Amazon Root CA 1\n${CA}\n# Other\n${CA2}`, { read: 2 }],
  ["what openssl x509 -text prints before", "rootca", TEXT + CA, { read: 1 }],
  ["text behind", "rootca", CA + "that was it\n", { read: 1 }],
  ["blank lines around blocks", "rootca", `\n\n${CA}\n\n\n${CA2}\n\n`, { read: 2 }],
  ["blank lines within a block", "rootca", inLines(CA, 64).replaceAll("\n", "\n\n"), { read: 1 }],
  ["blanks at line ends", "rootca", CA.replaceAll("\n", "  \t\n"), { read: 1 }],
  ["one line of base64", "rootca", inLines(CA, 10_000), { read: 1 }],
  ["lines of 76", "rootca", inLines(CA, 76), { read: 1 }],
  ["lines of 5", "rootca", inLines(CA, 5), { read: 1 }],
  ["the label X509 CERTIFICATE", "rootca", relabel(CA, "CERT", "X509 CERT"), { read: 1 }],
  [
    "a TRUSTED CERTIFICATE with its settings",
    "rootca",
    lengthened(CA, "TRUSTED CERTIFICATE"),
    { read: 1 },
  ],
  ["a key beside it", "rootca", KEY + CA, { read: 1 }],
  ["a second block that is no DER", "rootca", CA + NOT_DER, { read: 1, leavesOut: [2] }],
  ["a first block that is no DER", "rootca", NOT_DER + CA, { read: 1, leavesOut: [1] }],
  ["a block that is no base64", "rootca", CA + NOT_BASE64 + CA2, { read: 2, leavesOut: [2] }],
  ["a block that is cut off", "rootca", CA + withoutEnd(CA2), { read: 1, leavesOut: [2] }],
  [
    "a block that the next one cuts off",
    "rootca",
    withoutEnd(CA) + CA2,
    { read: 1, leavesOut: [1] },
  ],
  [
    "a block with nothing in it",
    "rootca",
    "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n" + CA,
    { read: 1, leavesOut: [1] },
  ],
  [
    "a block that ends under another name",
    "rootca",
    CA.replace("END CERT", "END X509 CERT") + CA2,
    { read: 1, leavesOut: [1] },
  ],
  [
    "nothing but blocks that cannot be decoded",
    "rootca",
    NOT_DER + NOT_BASE64,
    {
      refused:
        /^holds no certificate that can be decoded \(.*block 1 .*; .*block 2 is not base64\)/,
    },
  ],
  ["nothing", "rootca", "", { refused: /^must be a certificate in PEM, but holds none$/ }],
  ["no PEM", "rootca", "\x30\x82\x01", {
    refused: /^must be a certificate in PEM, but holds none$/,
  }],
  [
    "a key in its place",
    "rootca",
    KEY,
    { refused: /^must be a certificate in PEM, but holds PRIVATE KEY$/ },
  ],
  ["a certificate", "cert", CERT, { read: 1 }],
  ["a chain", "cert", CERT + CA, { read: 2 }],
  ["a chain with text between", "cert", `${TEXT}${CERT}\n${TEXT}${CA}`, { read: 2 }],
  ["the key in the same file", "cert", KEY + CERT, { read: 1 }],
  ["the key behind, encrypted", "cert", CERT + ENCRYPTED, { read: 1 }],
  ["line ends of Windows, a mark, no end", "cert", "\uFEFF" + crlf(CERT).trimEnd(), { read: 1 }],
  ["something behind the DER", "cert", lengthened(CERT, "CERTIFICATE"), { read: 1 }],
  [
    "a chain whose second block is no DER",
    "cert",
    CERT + NOT_DER,
    { refused: /^holds a certificate that cannot be decoded: block 2 is no valid certificate \(/ },
  ],
  [
    "a chain whose third block is cut off",
    "cert",
    CERT + CA + withoutEnd(CA2),
    { refused: /^holds a certificate that cannot be decoded: block 3 has no END line$/ },
  ],
  [
    "a bad block behind the key",
    "cert",
    KEY + CERT + NOT_BASE64,
    { refused: /^holds a certificate that cannot be decoded: block 3 is not base64$/ },
  ],
  ["an indented block", "cert", CERT.replaceAll(/^/gm, "  "), { refused: /but holds none$/ }],
  [
    "a certificate request",
    "cert",
    relabel(CERT, "CERTIFICATE", "CERTIFICATE REQUEST"),
    { refused: /^must be a certificate in PEM, but holds CERTIFICATE REQUEST$/ },
  ],
  ["PKCS #8", "key", KEY, { read: 1 }],
  ["SEC1", "key", SEC1, { read: 1 }],
  ["EC PARAMETERS before SEC1", "key", EC_PARAMETERS + SEC1, { read: 1 }],
  ["one more newline behind END", "key", KEY + "\n", { read: 1 }],
  ["three more newlines behind END", "key", KEY + "\n\n\n", { read: 1 }],
  ["no last newline", "key", KEY.trimEnd(), { read: 1 }],
  ["line ends of Windows", "key", crlf(KEY), { read: 1 }],
  ["a byte order mark", "key", "\uFEFF" + KEY, { read: 1 }],
  ["attributes of a PKCS #12 before", "key", `Bag Attributes\n    friendlyName: x\n${KEY}`, {
    read: 1,
  }],
  ["the certificate in the same file", "key", CERT + KEY, { read: 1 }],
  ["a bad certificate in the same file", "key", NOT_DER + KEY, { read: 1 }],
  ["two keys, of which the first counts", "key", KEY + pki.server.keyPem, { read: 1 }],
  [
    "another key first",
    "key",
    pki.server.keyPem + KEY,
    { refused: /^must belong to the certificate \/etc\/device.pem, but does not$/ },
  ],
  [
    "an encrypted key",
    "key",
    ENCRYPTED,
    { refused: /^must be a private key without a passphrase, but block 1 is encrypted$/ },
  ],
  [
    "a key encrypted as OpenSSL did it before 1.0",
    "key",
    SEC1.replace("\n", "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n"),
    { refused: /^must be a private key without a passphrase, but block 1 is encrypted$/ },
  ],
  [
    "an encrypted key behind the certificate",
    "key",
    CERT + ENCRYPTED,
    { refused: /but block 2 is encrypted$/ },
  ],
  [
    "a key that is no DER",
    "key",
    EC_PARAMETERS + NO_KEY,
    { refused: /^holds a private key that cannot be decoded: block 2 is no valid PRIVATE KEY$/ },
  ],
  [
    "a second key that is no DER",
    "key",
    KEY + NO_KEY,
    { refused: /^holds a private key that cannot be decoded: block 2 is no valid PRIVATE KEY$/ },
  ],
  [
    "a key that is cut off",
    "key",
    KEY.slice(0, 100),
    { refused: /^holds a private key that cannot be decoded: block 1 has no END line$/ },
  ],
  [
    "a key under the name of another kind",
    "key",
    relabel(KEY, "PRIVATE KEY", "RSA PRIVATE KEY"),
    { refused: /block 1 is no valid RSA PRIVATE KEY$/ },
  ],
  [
    "a key of OpenSSH",
    "key",
    OPENSSH,
    { refused: /^must be a private key in PEM, but holds OPENSSH PRIVATE KEY$/ },
  ],
  [
    "a public key",
    "key",
    relabel(KEY, "PRIVATE", "PUBLIC"),
    { refused: /^must be a private key in PEM, but holds PUBLIC KEY$/ },
  ],
];

const PATHS = { rootca: "/etc/ca.pem", cert: "/etc/device.pem", key: "/etc/device.key" } as const;

function read(use: Use, text: string): Promise<Credentials> {
  const texts = { rootca: CA, cert: CERT, key: KEY, [use]: text };
  const byPath = new Map(Object.entries(PATHS).map(([name, path]) => [path, texts[name as Use]]));
  return readCredentials(PATHS, (path) => Promise.resolve(byPath.get(path as "/etc/ca.pem")!));
}

function count(pem: string): number {
  return pem.match(/^-----BEGIN/gm)?.length ?? 0;
}

Deno.test(
  "the table of PEM texts is not shorter than it should be",
  { permissions: "none" },
  () => {
    assertGreaterOrEqual(TABLE.length, 40);
  },
);

for (const [what, use, text, expected] of TABLE) {
  const end = "refused" in expected ? "is refused" : "is read";
  Deno.test(`--${use} with ${what} ${end}`, { permissions: "none" }, async () => {
    if ("refused" in expected) {
      const error = await assertRejects(() => read(use, text), ExitError);
      assertEquals(error.exit, 78);
      const [, option, path, said = ""] = /^Cannot use --(\S+) (\S+): it (.*)$/.exec(
        error.message,
      )!;
      assertEquals([option, path], [use, PATHS[use]]);
      assertMatch(said, expected.refused);
      return;
    }
    const { ca, cert, key, leftOut, fingerprint } = await read(use, text);
    const file = { rootca: ca, cert, key }[use];
    assertEquals(count(file), expected.read);
    assertEquals(fingerprint.replaceAll(":", "").toLowerCase(), device.fingerprint);
    assert(createPrivateKey(key).equals(privateKey));
    const numbers = "leavesOut" in expected ? expected.leavesOut : [];
    assertEquals(leftOut.length, numbers.length);
    for (const [i, number] of numbers.entries()) {
      assertMatch(leftOut[i]!, new RegExp(`^/etc/ca.pem: block ${number} `));
    }
    // What is handed on is in the one form, whatever the file was like.
    assertMatch(file, /^(-----BEGIN [A-Z ]+-----\n([\w+/=]+\n)+-----END [A-Z ]+-----\n)+$/);
  });
}
