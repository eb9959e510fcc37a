import { permissionFlags, permissionsOf } from "../../../src/build/permissions.ts";
import { finish } from "../../../src/build/bundle.ts";
import { parseBuildArgs } from "../../../src/build/options.ts";
import { assert, assertEquals, pureTest } from "../../deps.ts";

pureTest(
  "an endpoint without a port is allowed on both ports of AWS IoT Core, one with a port on that",
  () => {
    const { net } = permissionsOf(
      parseBuildArgs(["--endpoint", "a.local", "--endpoint", "*.b.local:1883"]),
    );
    assertEquals(net.slice(0, 3), ["a.local:8883", "a.local:443", "*.b.local:1883"]);
    assert(!net.some((host) => host.includes("amazonaws")));
  },
);

pureTest("what is added to the permissions of the program stands beside the usual", () => {
  const args = ["--", "--read", "/opt/creds/", "--spool", "/data//spool", "--proxy", "p:3128"];
  const { net, read, write } = permissionsOf(parseBuildArgs(args));
  assert(net.includes("p:3128") && net.includes("*.iot.eu-west-1.amazonaws.com:8883"));
  assert(read.includes("/opt/creds") && read.includes("/etc/greengrass"));
  assert(write.includes("/data/spool") && write.includes("/var/lib/iotcored"));
  assert(!write.includes("/opt/creds"));
});

pureTest(
  "--only-read takes the place of the usual folders, and not of the state and the socket",
  () => {
    const { read } = permissionsOf(
      parseBuildArgs(["--only-read", "/k/key.pem", "--read", "/k/ca"]),
    );
    assertEquals(read, [
      ...["/k/key.pem", "/k/ca"],
      ...["/run/greengrass", "/var/lib/iotcored", "/run/iotcored", "/run/systemd/notify"],
    ]);
  },
);

pureTest(
  "another bus folder and interface name move the sockets, and leave nothing of the usual ones",
  () => {
    const { net, read, write } = permissionsOf(
      parseBuildArgs(["--bus-dir", "/opt/bus", "--interface-name", "core"]),
    );
    assertEquals(net.filter((entry) => entry.startsWith("unix:/opt")), [
      "unix:/opt/bus/core",
      "unix:/opt/bus/.core/s",
      "unix:/opt/bus/gg_config",
    ]);
    const all = [...net, ...read, ...write].join();
    assert(!all.includes("/run/greengrass") && !all.includes("aws_iot_mqtt"), all);
  },
);

pureTest(
  "an endpoint with * for its port is that host on any port, which Deno writes without",
  () => {
    const { net } = permissionsOf(
      parseBuildArgs(["--endpoint", "localhost:*", "--endpoint", "*.b.local:*"]),
    );
    assertEquals(net.slice(0, 2), ["localhost", "*.b.local"]);
  },
);

pureTest("several bus folders and interface names are allowed each with each", () => {
  const args = ["--bus-dir", "/a", "--bus-dir", "/b", "--interface-name", "x"];
  const { net, write } = permissionsOf(parseBuildArgs([...args, "--interface-name", "y"]));
  assertEquals(net.filter((entry) => /^unix:\/[ab]\//.test(entry)), [
    ...["unix:/a/x", "unix:/a/y", "unix:/b/x", "unix:/b/y"],
    ...["unix:/a/.x/s", "unix:/a/.y/s", "unix:/b/.x/s", "unix:/b/.y/s"],
    ...["unix:/a/gg_config", "unix:/b/gg_config"],
  ]);
  assertEquals(write.slice(0, 2), ["/a", "/b"]);
});

/** Regions with device data endpoints, of botocore 1.44.8: `data-ats.iot`, and `data.iot` with FIPS. */
const REGIONS = {
  "*.iot.<region>.amazonaws.com":
    "ap-east-1 ap-northeast-1 ap-northeast-2 ap-south-1 ap-southeast-1 ap-southeast-2 ap-southeast-5 " +
    "ca-central-1 eu-central-1 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 il-central-1 " +
    "me-central-1 me-south-1 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2 us-gov-east-1 us-gov-west-1",
  "*.iot.<region>.amazonaws.com.cn": "cn-north-1 cn-northwest-1",
  "data.iot-fips.<region>.amazonaws.com":
    "ca-central-1 us-east-1 us-east-2 us-west-1 us-west-2 us-gov-east-1 us-gov-west-1",
} as const;

pureTest(
  "the hosts are the data endpoints of each region of AWS IoT Core on both ports, and no others",
  () => {
    const hosts = permissionsOf(parseBuildArgs([])).net.filter((entry) =>
      !entry.startsWith("unix:")
    );
    const wanted = Object.entries(REGIONS).flatMap(([pattern, regions]) =>
      regions.split(" ").flatMap((region) =>
        [8883, 443].map((port) => `${pattern.replace("<region>", region)}:${port}`)
      )
    );
    assertEquals(hosts.toSorted(), wanted.toSorted());
  },
);

pureTest(
  "what the bundler leaves is finished: imports first, what it knows of its build, ASCII, no optional packages",
  () => {
    const bundled = 'var a = "\u00a7";\nimport { x } from "node:net";\n__require("node:tls");\n' +
      '  __require("bufferutil");\n/* \u2013 */\nimport y from "node:zlib";\n';
    const text = finish(bundled, { A: { net: ["a:1"] }, B: "b" });
    assertEquals(text.split("\n").filter((line) => line !== ""), [
      'import { x } from "node:net";',
      'import y from "node:zlib";',
      'globalThis.A = {"net":["a:1"]};',
      'globalThis.B = "b";',
      'var a = "\\u00a7";',
      '__require("node:tls");',
      `  (() => { throw new Error("bufferutil" + ' is not a part of this program'); })();`,
      "/* \\u2013 */",
    ]);
  },
);

pureTest("nothing is allowed as a whole, and nothing is asked for", () => {
  const flags = permissionFlags(permissionsOf(parseBuildArgs([])));
  assert(flags.includes("--no-prompt"));
  for (const flag of flags) {
    assert(!/^--allow-(run|ffi|sys|all|hrtime)|^-A$/.test(flag), flag);
    if (flag.startsWith("--allow-")) assert(/=./.test(flag), flag);
  }
});
