import { components } from "../../../src/build/sbom.ts";
import { assert, assertEquals, assertThrows } from "../../deps.ts";

const LOCK = {
  version: "5",
  jsr: { "@std/cli@1.0.0": { integrity: "00ff" } },
  npm: {
    "mqtt@5.0.0": { integrity: "sha512-AP8=", dependencies: ["@types/ws", "twice@2.0.0"] },
    "@types/ws@8.0.0": { integrity: "sha512-AP8=" },
    "twice@1.0.0": { integrity: "sha512-AP8=" },
    "twice@2.0.0": { integrity: "sha512-AP8=", dependencies: ["mqtt"] },
    "only-in-tests@1.0.0": { integrity: "sha512-AP8=" },
  },
};

Deno.test("the bill of materials has what the program needs, once each, and nothing of the tests", () => {
  assertEquals(components(LOCK).map(({ purl, scope }) => [purl, scope]), [
    ["pkg:generic/std/cli@1.0.0?repository_url=https://jsr.io", "required"],
    ["pkg:npm/mqtt@5.0.0", "required"],
    ["pkg:npm/%40types/ws@8.0.0", "excluded"],
    ["pkg:npm/twice@2.0.0", "required"],
  ]);
});

Deno.test("the bill of materials has the hashes of the lock file, in hex", () => {
  const [cli, mqtt] = components(LOCK);
  assertEquals(cli!.hashes, [{ alg: "SHA-256", content: "00ff" }]);
  assertEquals(mqtt!.hashes, [{ alg: "SHA-512", content: "00ff" }]);
});

Deno.test("the bill of materials is refused for a lock file of another version, or with a package missing", () => {
  assertThrows(() => components({ ...LOCK, version: "6" }), Error, "version 5, got 6");
  assertThrows(() => components({ ...LOCK, jsr: {} }), Error, "must hold one jsr:@std/cli, got 0");
});

Deno.test("every package of the real lock file is found", async () => {
  const url = new URL("../../../deno.lock", import.meta.url);
  const found = components(JSON.parse(await Deno.readTextFile(url)));
  assert(found.length > 20);
  assert(found.every(({ version }) => /^\d+\.\d+\.\d+/.test(version)));
  assert(!found.some(({ name }) => name.startsWith("@peculiar/")));
});
