import { assert, assertEquals, assertStringIncludes } from "../deps.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, type Program, runProgram, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

Deno.test("the letters of mosquitto_pub and mosquitto_sub do what they do there", async () => {
  await using core = await startAwsIotCore();
  await using dir = await tempDir();
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  const bus = ["--bus-dir", `${dir.path}/bus`];
  await using daemon = await startProgram(daemonArgs(core, files, `${dir.path}/bus`));
  await daemon.logged("Connected");

  const accepted = await runProgram(["subscribe", ...bus, "-t", "a/#", "-E"]);
  assertEquals([accepted.code, accepted.stdout, accepted.stderr], [0, "", ""]);

  const subscriber = (...args: string[]): Promise<Program> =>
    startProgram(["subscribe", ...bus, "-t", "a/#", ...args]);
  await using formatted = await subscriber("-F", "%t=%p(%l)", "-C", "3", "-T", "a/secret");
  await using joined = await subscriber("-N", "-C", "4");
  const ready = async (): Promise<boolean> => {
    const { stdout } = await runProgram(["status", ...bus, "--json"]);
    return JSON.parse(stdout).clients.subscriptions === 2;
  };
  await waitFor("the subscriptions", ready);
  await runProgram(["publish", ...bus, "-t", "a/secret", "-m", "no", "-q", "1"]);
  const repeated = ["--repeat", "3", "--repeat-delay", "0.05", "-q", "1"];
  const { code } = await runProgram(["publish", ...bus, "-t", "a/b", "-m", "x", ...repeated]);
  assertEquals(code, 0);
  assertEquals(await within("-F to end", formatted.exited), 0);
  assertEquals(formatted.output(), "a/b=x(1)\n".repeat(3));
  assertEquals(await within("-N to end", joined.exited), 0);
  assertEquals(joined.output(), "noxxx");
});

Deno.test("what cannot mean anything here is refused with 64, and what takes its place is said", async () => {
  const cases: [string[], string][] = [
    [["publish", "-h", "localhost", "-t", "a", "-m", "x"], "--bus-dir and -n say which daemon"],
    [
      ["publish", "-p", "8883", "-t", "a", "-m", "x"],
      "no option -p: the daemon has the connection",
    ],
    [["publish", "--cafile", "ca.pem", "-t", "a", "-m", "x"], "--rootca, --cert and --key"],
    [["publish", "-u", "me", "-t", "a", "-m", "x"], "the daemon has the credentials"],
    [["publish", "-r", "-t", "a", "-m", "x"], "no option -r: the core bus carries no retain flag"],
    [["subscribe", "-i", "me", "-t", "a"], "no option -i: the daemon's connection is shared"],
    [["subscribe", "-t", "a", "-F", "%q"], "the core bus does not carry the QoS (%q)"],
    [["publish", "-t", "a", "-l", "--repeat", "2"], "cannot be used with --stdin-line"],
    [["publish", "--topc", "a", "-m", "x"], "unknown option --topc; did you mean --topic?"],
    [["publsh", "-t", "a", "-m", "x"], "unknown subcommand publsh; did you mean publish?"],
    [["-t", "a", "-m", "x"], "of iotcored run, but of publish or subscribe"],
    [["publish", "-t", "a/#", "-m", "x"], "must not hold + or #"],
    [["check", "-e", "https://x-ats.iot.eu-west-1.amazonaws.com/"], "write x-ats.iot.eu-west-1"],
    [["check", "-e", "host:8883", "--port", "443"], "--endpoint already says port 8883"],
    [["check", "--port", "1", "-e", '"host"'], "without blanks and quotes around it; write host"],
    [["--cert", " /a/b.pem"], "without blanks and quotes around it; write /a/b.pem"],
  ];
  const results = await Promise.all(cases.map(([args]) => runProgram(args, {}, 60_000)));
  for (const [n, { code, stderr, stdout }] of results.entries()) {
    const [args, text] = cases[n]!;
    assertEquals(code, 64, `${args.join(" ")}: ${stdout}${stderr}`);
    const said = args[0] === "check" ? stdout : stderr;
    assertStringIncludes(said, text);
    assert(stderr.split("\n").length <= 2, stderr);
  }
});

Deno.test("an endpoint without -ats is used, and said to be one", async () => {
  await using dir = await tempDir();
  await using core = await startAwsIotCore();
  const files = await writePki(dir.path, core.pki);
  const host = "abc.iot.eu-west-1.amazonaws.com";
  const args = daemonArgs({ host, port: 8883 }, files, `${dir.path}/bus`);
  await using daemon = await startProgram(args);
  await daemon.logged("write abc-ats.iot.eu-west-1.amazonaws.com");
});
