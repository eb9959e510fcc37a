import { type Given, resolveConfig } from "../../../src/config/resolve.ts";
import type { Config } from "../../../src/config/resolve.ts";
import { covers, innerBox, missingFrom, missingText } from "../../../src/daemon/permissions.ts";
import { workerPermissions } from "../../../src/daemon/permissions.ts";
import { assert, assertEquals } from "../../deps.ts";

const GIVEN = {
  endpoint: "xyz.iot.eu-west-1.amazonaws.com",
  id: "thing",
  rootca: "/c/ca.pem",
  cert: "/c/cert.pem",
  key: "/k/key.pem",
} as const satisfies Given;

function config(more: Given = {}, ceiling = 1): Config {
  return resolveConfig({ ...GIVEN, ...more }, {}, new Map(), ceiling);
}

Deno.test("the inner box names one endpoint, one socket and three files", () => {
  assertEquals(innerBox(config(), false), {
    net: [
      "xyz.iot.eu-west-1.amazonaws.com:8883",
      "unix:/run/greengrass/aws_iot_mqtt",
      "unix:/run/greengrass/.aws_iot_mqtt/s",
    ],
    read: [
      "/c/ca.pem",
      "/c/cert.pem",
      "/k/key.pem",
      "/run/greengrass/aws_iot_mqtt",
      "/run/greengrass/.aws_iot_mqtt",
    ],
    write: ["/run/greengrass/aws_iot_mqtt", "/run/greengrass/.aws_iot_mqtt"],
  });
});

Deno.test("the inner box has the spool's folder when the spool is on disk", () => {
  const { read, write } = innerBox(config({ spool: "/var/lib/iotcored/spool" }), true);
  assertEquals(write, ["/var/lib/iotcored/spool"]);
  assertEquals(read.at(-1), "/var/lib/iotcored/spool");
});

Deno.test("the inner box needs no socket paths when systemd holds the socket", () => {
  const { net, read, write } = innerBox(config(), true);
  assertEquals(net, ["xyz.iot.eu-west-1.amazonaws.com:8883"]);
  assertEquals(read, ["/c/ca.pem", "/c/cert.pem", "/k/key.pem"]);
  assertEquals(write, []);
});

Deno.test("the inner box has the proxy when the endpoint is reached through it", () => {
  const proxy = "http://user:secret@proxy.local:3128";
  assertEquals(innerBox(config({ proxy }), true).net.slice(1), ["proxy.local:3128"]);
  assertEquals(innerBox(config({ proxy, noProxy: "amazonaws.com" }), true).net.length, 1);
});

Deno.test("the inner box puts an IPv6 address into brackets", () => {
  assertEquals(innerBox(config({ endpoint: "[::1]:443" }), true).net, ["[::1]:443"]);
});

Deno.test("a worker is refused everything that the box does not name", () => {
  const { env, run, ffi, sys, import: imports } = workerPermissions(innerBox(config(), false));
  assertEquals([env, run, ffi, sys, imports], [false, false, false, false, false]);
});

Deno.test("a box covers what it names, and no other endpoint or file", () => {
  const box = innerBox(config(), false);
  assert(covers(box, innerBox(config({ id: "other", keepAliveS: "30" }), false)));
  assert(!covers(box, innerBox(config({ endpoint: "other.amazonaws.com" }), false)));
  assert(!covers(box, innerBox(config({ port: "443" }), false)));
  assert(!covers(box, innerBox(config({ cert: "/c/other.pem" }), false)));
});

function textOf(told: Config, refused: readonly string[], standalone = true): string | undefined {
  const isGranted = (what: Deno.PermissionDescriptor): boolean =>
    !refused.includes(String("host" in what ? what.host : "path" in what ? what.path : ""));
  return missingText(missingFrom(innerBox(told, false), isGranted), told, standalone);
}

Deno.test("nothing is said when nothing is missing", () => {
  assertEquals(textOf(config(), []), undefined);
});

Deno.test("a missing permission is named, with the compile command that allows it", () => {
  assertEquals(
    textOf(config({ endpoint: "broker.local" }), ["broker.local:8883"]),
    "Cannot reach broker.local:8883: this program was compiled without the permission; " +
      "this allows it: deno task compile -- --endpoint broker.local:8883",
  );
  assertEquals(
    textOf(config({}, 4), ["/k/key.pem"]),
    "Cannot read /k/key.pem: this program was compiled without the permission; " +
      "this allows it: deno task compile -- --max-connections 4 --read /k/key.pem",
  );
});

Deno.test("everything that is missing is named at once", () => {
  const told = config({
    busDir: "/tmp/bus",
    spool: "/tmp/spool",
    proxy: "http://user:secret@proxy.local:3128",
  });
  const { net, write } = innerBox(told, false);
  const text = textOf(told, [...net, ...write])!;
  assertEquals(
    text.split("this allows it: ")[1],
    "deno task compile -- --endpoint xyz.iot.eu-west-1.amazonaws.com:8883 " +
      "--proxy proxy.local:3128 --bus-dir /tmp/bus --interface-name aws_iot_mqtt --spool /tmp/spool",
  );
  assert(!text.includes("secret"));
});

Deno.test("a program from source is told of the permission set instead", () => {
  const text = textOf(config(), ["/k/key.pem"], false);
  assert(text?.endsWith("-P=iotcored allows it, as deno task iotcored does"), text);
});
