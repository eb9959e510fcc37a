import { type CliSettings, resolveConfig } from "../../../src/config/resolve.ts";
import type { Config } from "../../../src/config/resolve.ts";
import {
  missingFrom,
  neededPermissions,
  type PermissionSet,
  refusalOf,
} from "../../../src/daemon/permissions.ts";
import { assert, assertEquals, pureTest } from "../../deps.ts";

const GIVEN = {
  endpoint: "xyz.iot.eu-west-1.amazonaws.com",
  id: "thing",
  rootca: "/c/ca.pem",
  cert: "/c/cert.pem",
  key: "/k/key.pem",
} as const satisfies CliSettings;

function config(more: CliSettings = {}, ceiling = 1): Config {
  return resolveConfig({ ...GIVEN, ...more }, {}, new Map(), ceiling);
}

pureTest("a configuration needs one endpoint, one socket and three files", () => {
  assertEquals(neededPermissions(config(), false), {
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

pureTest("a configuration needs the spool's folder when the spool is on disk", () => {
  const { read, write } = neededPermissions(config({ spool: "/var/lib/iotcored/spool" }), true);
  assertEquals(write, ["/var/lib/iotcored/spool"]);
  assertEquals(read.at(-1), "/var/lib/iotcored/spool");
});

pureTest("a configuration needs no socket paths when systemd holds the socket", () => {
  const { net, read, write } = neededPermissions(config(), true);
  assertEquals(net, ["xyz.iot.eu-west-1.amazonaws.com:8883"]);
  assertEquals(read, ["/c/ca.pem", "/c/cert.pem", "/k/key.pem"]);
  assertEquals(write, []);
});

pureTest("a configuration needs the proxy when the endpoint is reached through it", () => {
  const proxy = "http://user:secret@proxy.local:3128";
  assertEquals(neededPermissions(config({ proxy }), true).net.slice(1), ["proxy.local:3128"]);
  assertEquals(neededPermissions(config({ proxy, noProxy: "amazonaws.com" }), true).net.length, 1);
});

pureTest("an IPv6 address is needed in brackets", () => {
  assertEquals(neededPermissions(config({ endpoint: "[::1]:443" }), true).net, ["[::1]:443"]);
});

const COMPILED: PermissionSet = {
  net: [
    ...["*.iot.eu-west-1.amazonaws.com:8883", "*.iot.eu-west-1.amazonaws.com:443"],
    ...["*.iot.cn-north-1.amazonaws.com.cn:8883", "data.iot-fips.us-east-1.amazonaws.com:443"],
    ...["proxy.fleet:3128", "unix:/run/greengrass/aws_iot_mqtt"],
  ],
  read: ["/etc/iotcored", "/var/lib/iotcored"],
  write: ["/var/lib/iotcored"],
};

function textOf(
  config: Config,
  refused: readonly string[],
  compiled: PermissionSet | undefined = COMPILED,
): string | undefined {
  const isGranted = (what: Deno.PermissionDescriptor): boolean =>
    !refused.includes(String("host" in what ? what.host : "path" in what ? what.path : ""));
  return refusalOf(missingFrom(neededPermissions(config, false), isGranted), config, compiled);
}

pureTest("nothing is said when nothing is missing", () => {
  assertEquals(textOf(config(), []), undefined);
});

pureTest(
  "a missing host is named, with the regions and hosts that may be reached, and the compile option",
  () => {
    assertEquals(
      textOf(config({ endpoint: "broker.local" }), ["broker.local:8883"]),
      "Cannot reach broker.local:8883: this program was compiled without the permission and may reach " +
        "*.iot.<region>.amazonaws.com:8883/443 in eu-west-1, *.iot.<region>.amazonaws.com.cn:8883 in cn-north-1, " +
        "data.iot-fips.<region>.amazonaws.com:443 in us-east-1, proxy.fleet:3128; " +
        "this allows it: deno task compile -- --endpoint broker.local:8883",
    );
  },
);

pureTest(
  "a missing file is named, with the folders that may be read, and the compile option",
  () => {
    assertEquals(
      textOf(config({}, 4), ["/k/key.pem"]),
      "Cannot read /k/key.pem: this program was compiled without the permission and may read what is below " +
        "/etc/iotcored /var/lib/iotcored; this allows it: deno task compile -- --max-connections 4 --read /k/key.pem",
    );
  },
);

pureTest("everything that is missing is named at once, without the proxy's password", () => {
  const told = config({
    busDir: "/tmp/bus",
    spool: "/tmp/spool",
    proxy: "http://user:secret@proxy.local:3128",
  });
  const { net, write } = neededPermissions(told, false);
  const text = textOf(told, [...net, ...write])!;
  assertEquals(
    text.split("this allows it: ")[1],
    "deno task compile -- --endpoint xyz.iot.eu-west-1.amazonaws.com:8883 " +
      "--proxy proxy.local:3128 --bus-dir /tmp/bus --interface-name aws_iot_mqtt --spool /tmp/spool",
  );
  assert(!text.includes("secret"));
});

pureTest("a program that may reach and read nothing says so", () => {
  const text = textOf(config(), ["/k/key.pem"], { net: [], read: [], write: [] });
  assert(text?.includes("may read what is below nothing"), text);
});

pureTest("a program from source is told of the task with the wide set instead", () => {
  const missing = missingFrom(neededPermissions(config(), true), () => false);
  const text = refusalOf(missing, config(), undefined);
  assert(text?.endsWith("deno task iotcored:dev runs it with the wide set"), text);
});
