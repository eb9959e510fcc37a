import { boxFlags, outerBox } from "../../../src/build/permissions.ts";
import { parseBuildArgs } from "../../../src/build/options.ts";
import { resolveConfig } from "../../../src/config/resolve.ts";
import { innerBox } from "../../../src/daemon/permissions.ts";
import { assert, assertEquals } from "../../deps.ts";

Deno.test("an endpoint without a port is allowed on both ports of AWS IoT Core, one with a port on that", () => {
  const { net } = outerBox(
    parseBuildArgs(["--endpoint", "a.local", "--endpoint", "*.b.local:1883"]),
  );
  assertEquals(net.slice(0, 3), ["a.local:8883", "a.local:443", "*.b.local:1883"]);
  assert(!net.some((host) => host.includes("amazonaws")));
});

Deno.test("what is added to the outer box stands beside the usual", () => {
  const args = ["--", "--read", "/opt/creds/", "--spool", "/data//spool", "--proxy", "p:3128"];
  const { net, read, write } = outerBox(parseBuildArgs(args));
  assert(net.includes("p:3128") && net.includes("*.amazonaws.com:8883"));
  assert(read.includes("/opt/creds") && read.includes("/etc/greengrass"));
  assert(write.includes("/data/spool") && write.includes("/var/lib/iotcored"));
  assert(!write.includes("/opt/creds"));
});

Deno.test("the inner box lies within the outer one", () => {
  const outer = outerBox(parseBuildArgs([]));
  const inner = innerBox(
    resolveConfig({
      endpoint: "x.iot.eu-west-1.amazonaws.com",
      id: "thing",
      rootca: "/etc/greengrass/ca.pem",
      cert: "/var/lib/greengrass/cert.pem",
      key: "/ggcredentials/key.pem",
      spool: "/var/lib/iotcored/spool",
    }),
    false,
  );
  const below = (folders: readonly string[], path: string): boolean =>
    folders.some((folder) => path === folder || path.startsWith(`${folder}/`));
  assert(inner.read.every((path) => below(outer.read, path)));
  assert(inner.write.every((path) => below(outer.write, path)));
  assert(inner.net.slice(1).every((host) => outer.net.includes(host)));
});

Deno.test("nothing is allowed as a whole, and nothing is asked for", () => {
  const flags = boxFlags(outerBox(parseBuildArgs([])));
  assert(flags.includes("--no-prompt"));
  for (const flag of flags) {
    assert(!/^--allow-(run|ffi|sys|all|hrtime)|^-A$/.test(flag), flag);
    if (flag.startsWith("--allow-")) assert(/=./.test(flag), flag);
  }
});
