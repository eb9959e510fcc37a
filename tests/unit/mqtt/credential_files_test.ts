import { ExitError } from "../../../src/base/errors.ts";
import { ConnectError } from "../../../src/mqtt/connect_error.ts";
import { checkCredentials, readCredentials } from "../../../src/mqtt/credentials.ts";
import { CredentialFiles, RETRY_MS } from "../../../src/mqtt/credential_files.ts";
import { assertEquals, assertRejects, assertStringIncludes } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { fakeLog } from "../../support/fake_log.ts";
import { waitFor } from "../../support/wait.ts";
import { createPki } from "../../support/pki.ts";

const pki = await createPki();
const first = await pki.device();
const second = await pki.device();
const PATHS = { rootca: "/ca.pem", cert: "/device.pem", key: "/device.key" } as const;
const BAD = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/** Files that a test writes, and what is read of them. */
function setUp() {
  const log = fakeLog();
  const texts = new Map<string, string>([
    [PATHS.rootca, pki.ca.certPem],
    [PATHS.cert, first.certPem],
    [PATHS.key, first.keyPem],
  ]);
  const clock = new FakeClock();
  const files = new CredentialFiles(log, clock, (path) => {
    const text = texts.get(path);
    return text === undefined
      ? Promise.reject(new Deno.errors.NotFound("No such file"))
      : Promise.resolve(text);
  });
  const warnings = (): string[] =>
    // That the certificate is not valid yet, by the clock of the test, is not looked at here.
    log.lines.filter(({ level, text }) => level === "warn" && !text.startsWith("The certificate"))
      .map(({ text }) => text);
  return { clock, files, log, texts, warnings };
}

const pure = { permissions: "none" } as const;

Deno.test("files that cannot be used at the first read are refused", pure, async () => {
  const { files, texts } = setUp();
  texts.set(PATHS.cert, first.certPem + BAD);
  const error = await assertRejects(() => files.read(PATHS), ExitError);
  assertEquals(error.exit, 78);
});

Deno.test(
  "files that cannot be used later leave the credentials as they were, which is said once",
  pure,
  async () => {
    const { files, texts, warnings } = setUp();
    const read = await files.read(PATHS);
    texts.set(PATHS.cert, first.certPem + BAD);
    assertEquals(await files.read(PATHS), read);
    assertEquals(await files.read(PATHS), read);
    assertEquals(warnings().length, 1);
    assertStringIncludes(warnings()[0]!, "block 2 is no valid certificate");
    assertStringIncludes(warnings()[0]!, "the credentials that were read before stay in use");
    texts.delete(PATHS.key);
    assertEquals(await files.read(PATHS), read);
    assertEquals(warnings().length, 2);
  },
);

Deno.test(
  "files that are whole again are used, and a later fault is said again",
  pure,
  async () => {
    const { files, texts, warnings } = setUp();
    await files.read(PATHS);
    texts.set(PATHS.cert, second.certPem);
    await files.read(PATHS);
    texts.set(PATHS.key, second.keyPem);
    const { fingerprint } = await files.read(PATHS);
    assertEquals(fingerprint.replaceAll(":", "").toLowerCase(), second.fingerprint);
    assertEquals(warnings().length, 1);
    texts.set(PATHS.key, first.keyPem);
    await files.read(PATHS);
    assertEquals(warnings().length, 2);
  },
);

Deno.test("other files than those that were read have to be good", pure, async () => {
  const { files } = setUp();
  await files.read(PATHS);
  for (const name of ["rootca", "cert", "key"] as const) {
    await assertRejects(() => files.read({ ...PATHS, [name]: "/other.pem" }), ExitError);
  }
});

Deno.test(
  "a root certificate that is left out is named once, and again when the file has changed",
  pure,
  async () => {
    const { files, texts, warnings } = setUp();
    texts.set(PATHS.rootca, pki.ca.certPem + BAD);
    await files.read(PATHS);
    await files.read(PATHS);
    assertEquals(warnings().length, 1);
    assertStringIncludes(warnings()[0]!, "A root certificate is left out: /ca.pem: block 2 is no");
    texts.set(PATHS.rootca, BAD + pki.ca.certPem);
    await files.read(PATHS);
    assertEquals(warnings().length, 2);
    assertStringIncludes(warnings()[1]!, "/ca.pem: block 1 is no");
  },
);

Deno.test(
  "files that can be used again are told of, and nothing is looked at before and after",
  pure,
  async () => {
    const { clock, files, texts } = setUp();
    let mended = 0;
    files.onMended = () => mended++;
    await files.read(PATHS);
    texts.set(PATHS.key, second.keyPem);
    await files.read(PATHS);
    const settled = async (): Promise<void> => {
      clock.advance(RETRY_MS);
      await new Promise((resolve) => setTimeout(resolve, 0));
    };
    await settled();
    assertEquals([mended, clock.timers], [0, 1]);
    texts.set(PATHS.cert, second.certPem);
    await waitFor("the retry", async () => {
      await settled();
      return mended === 1;
    });
    assertEquals(clock.timers, 0);
    assertEquals((await files.read(PATHS)).cert, second.certPem);
    files.close();
  },
);

Deno.test("a certificate whose end is near is warned about each day", pure, async () => {
  const { clock, files, log } = setUp();
  const daysLeft = (days: number): void => clock.setWall(files.validTo! - days * 86_400_000);
  await files.read(PATHS);
  files.warnDaily();
  const said = (): string[] =>
    log.lines.map(({ text }) => text).filter((text) => text.includes("expires in"));
  daysLeft(40);
  clock.advance(86_400_000);
  assertEquals(said(), []);
  daysLeft(10.5);
  clock.advance(86_400_000);
  clock.advance(86_400_000);
  assertEquals(said(), ["The certificate expires in 9 days", "The certificate expires in 8 days"]);
  files.close();
  clock.advance(5 * 86_400_000);
  assertEquals(said().length, 2);
});

Deno.test(
  "that no descriptor is left says nothing of the files: the attempt fails and is made again",
  pure,
  async () => {
    const error = Object.assign(new Error("Too many open files"), { code: "EMFILE" });
    const readText = (): Promise<string> => Promise.reject(error);
    const failure = await assertRejects(() => readCredentials(PATHS, readText), ConnectError);
    assertEquals([failure.stage, failure.kind], ["credentials", "other"]);
    await checkCredentials(PATHS, readText);
  },
);
