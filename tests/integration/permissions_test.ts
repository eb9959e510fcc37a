import { parseBuildArgs } from "../../src/build/options.ts";
import { permissionFlags, permissionsOf } from "../../src/build/permissions.ts";
import { assertEquals, assertMatch } from "../deps.ts";
import { tempDir } from "../support/temp.ts";

const PROBE = new URL("../support/permission_probe.ts", import.meta.url).pathname;
const ROOT = new URL("../../", import.meta.url).pathname;

/** The two ways to have the permissions of the program: the flags that are compiled in, and the task's set. */
const FLAGS: Readonly<Record<string, readonly string[]>> = {
  "compiled in": ["--no-config", ...permissionFlags(permissionsOf(parseBuildArgs([])))],
  "of the task": ["-P=iotcored", "--no-prompt"],
};

/** Tries things with some flags; what came of each. */
async function probe(
  flags: readonly string[],
  tries: readonly string[],
): Promise<readonly (readonly [what: string, outcome: string])[]> {
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--unstable-worker-options", ...flags, PROBE, ...tries],
    cwd: ROOT,
    env: { NO_COLOR: "1", IOTCORED_PROBE: "set" },
  }).output();
  const decoder = new TextDecoder();
  const lines = decoder.decode(stdout).trimEnd().split("\n");
  assertEquals(lines.length, tries.length, decoder.decode(stderr));
  return lines.map((line) => line.split(" = ") as [string, string]);
}

const REFUSED = [
  ...["connect example.org:443", "connect example.org:8883", "connect 127.0.0.1:8883"],
  ...["connect s3.eu-west-1.amazonaws.com:443", "connect bucket.s3.eu-west-1.amazonaws.com:8883"],
  "connect ec2-192-0-2-1.eu-west-1.compute.amazonaws.com:8883",
  ...["connect eu-west-1.amazonaws.com:443", "connect x.iot.eu-west-1.amazonaws.com:22"],
  "connect x.iot.eu-west-1.amazonaws.com.example.org:8883",
  ...["read /etc/shadow", "read /etc/passwd", "read /root", "read /home", "read /proc/self/maps"],
  ...["write /etc/iotcored/key.pem", "write /tmp/x", "write /var/lib/x", "write /usr/bin/iotcored"],
  ...[
    "run /bin/true",
    "sys",
    "ffi /usr/lib/x.so",
    "fetch https://example.org/",
    "worker /etc/shadow",
  ],
  ...["unix /run/greengrass/gg_fleet_statusd", "unix /run/dbus/system_bus_socket"],
  "listen /run/greengrass/gg_config.new",
];

for (const [name, flags] of Object.entries(FLAGS)) {
  Deno.test(`the permissions ${name} refuse everything that is not the program's`, async () => {
    for (const [what, outcome] of await probe(flags, REFUSED)) {
      assertMatch(outcome, /^NotCapable: /, `${what}: ${outcome}`);
    }
  });

  Deno.test(`with the permissions ${name} no other environment can be seen`, async () => {
    const tries = ["env HOME", "env PATH", "env IOTCORED_PROBE"];
    for (const [what, outcome] of await probe(flags, tries)) {
      assertEquals(outcome, "Error: is not there", what);
    }
  });

  Deno.test(`the permissions ${name} allow the endpoints and folders of the program`, async () => {
    const tries = [
      "connect x-ats.iot.eu-west-1.amazonaws.com:8883",
      "connect x.iot.cn-north-1.amazonaws.com.cn:443",
      "read /etc/iotcored/none.pem",
      "write /var/lib/iotcored/none/x",
      "unix /run/greengrass/gg_config",
    ];
    for (const [what, outcome] of await probe(flags, tries)) {
      // None of them is there, or it cannot be reached from here; what matters is that Deno let it be tried.
      assertMatch(outcome, /^(?!NotCapable)/, `${what}: ${outcome}`);
    }
  });
}

Deno.test("a fleet's program reaches its one host and reads its three files", async () => {
  await using dir = await tempDir();
  for (const name of ["ca.pem", "cert.pem", "key.pem", "other.pem"]) {
    await Deno.writeTextFile(`${dir.path}/${name}`, name);
  }
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const accepting = listener.accept().then((conn) => conn.close());
  const files = ["ca.pem", "cert.pem", "key.pem"].map((name) => `${dir.path}/${name}`);
  const options = parseBuildArgs([
    ...["--endpoint", `localhost:${port}`],
    ...files.flatMap((path) => ["--only-read", path]),
  ]);
  const flags = ["--no-config", ...permissionFlags(permissionsOf(options))];
  const allowed = [`connect localhost:${port}`, ...files.map((path) => `read ${path}`)];
  for (const [what, outcome] of await probe(flags, allowed)) assertEquals(outcome, "done", what);
  await accepting;
  const refused = [
    `connect localhost:${port + 1}`,
    // The same by another name is another host.
    `connect 127.0.0.1:${port}`,
    "connect x.iot.eu-west-1.amazonaws.com:8883",
    `read ${dir.path}/other.pem`,
    "read /etc/iotcored/key.pem",
    `write ${files[0]}`,
  ];
  for (const [what, outcome] of await probe(flags, refused)) {
    assertMatch(outcome, /^NotCapable: /, `${what}: ${outcome}`);
  }
});
