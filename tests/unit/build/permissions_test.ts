import { boxFlags, outerBox } from "../../../src/build/permissions.ts";
import { parseBuildArgs } from "../../../src/build/options.ts";
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

Deno.test("nothing is allowed as a whole, and nothing is asked for", () => {
  const flags = boxFlags(outerBox(parseBuildArgs([])));
  assert(flags.includes("--no-prompt"));
  for (const flag of flags) {
    assert(!/^--allow-(run|ffi|sys|all|hrtime)|^-A$/.test(flag), flag);
    if (flag.startsWith("--allow-")) assert(/=./.test(flag), flag);
  }
});
