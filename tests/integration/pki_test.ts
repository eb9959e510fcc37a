import { X509Certificate } from "node:crypto";
import { assert, assertEquals, assertGreater, assertMatch, assertNotEquals } from "../deps.ts";
import { createPki, writePki } from "../support/pki.ts";
import { tempDir } from "../support/temp.ts";

Deno.test("a device certificate is signed by the authority and known by the hash of its DER", async () => {
  const pki = await createPki();
  const device = await pki.device({ cn: "thing-1" });
  const ca = new X509Certificate(pki.ca.certPem);
  const cert = new X509Certificate(device.certPem);
  assert(cert.verify(ca.publicKey));
  assertMatch(cert.subject, /CN=thing-1/);
  assertEquals(device.fingerprint, cert.fingerprint256.replaceAll(":", "").toLowerCase());
});

Deno.test("another authority's device is not signed by the first", async () => {
  const pki = await createPki();
  const stranger = await pki.device({ ca: await pki.otherCa() });
  const ca = new X509Certificate(pki.ca.certPem);
  assert(!new X509Certificate(stranger.certPem).verify(ca.publicKey));
});

Deno.test("the server certificate names localhost, 127.0.0.1 and what was asked for", async () => {
  const pki = await createPki({ names: ["broker.test"] });
  const cert = new X509Certificate(pki.server.certPem);
  const names = cert.subjectAltName ?? "";
  for (const name of ["localhost", "127.0.0.1", "broker.test"]) assert(names.includes(name), name);
});

Deno.test("the time of an expired certificate is over, and that of a future one has not come", async () => {
  const pki = await createPki();
  const expired = new X509Certificate((await pki.expired()).certPem);
  const future = new X509Certificate((await pki.notYetValid()).certPem);
  assertGreater(Date.now(), Date.parse(expired.validTo));
  assertGreater(Date.parse(future.validFrom), Date.now());
});

Deno.test("the files of a PKI are PEM with newlines at the end, and keys are for their owner only", async () => {
  await using dir = await tempDir();
  const pki = await createPki();
  const files = await writePki(dir.path, pki);
  for (
    const [path, begin] of [[files.rootca, "CERTIFICATE"], [files.cert, "CERTIFICATE"], [
      files.key,
      "PRIVATE KEY",
    ]]
  ) {
    assertMatch(
      await Deno.readTextFile(path!),
      new RegExp(`^-----BEGIN ${begin}-----\\n[^]*\\n-----END ${begin}-----\\n$`),
    );
  }
  assertEquals((await Deno.stat(files.key)).mode! & 0o777, 0o600);
  assertEquals((await Deno.stat(files.serverKey)).mode! & 0o777, 0o600);
  assertNotEquals(await Deno.readTextFile(files.key), await Deno.readTextFile(files.serverKey));
});
