import { assertEquals, assertStringIncludes, assertThrows, pureTest } from "../../deps.ts";
import { Exit, ExitError } from "../../../src/base/errors.ts";
import { type Option, parseOptions } from "../../../src/cli/args.ts";
import { parseRunArgs } from "../../../src/cli/run.ts";

function refusal(...args: string[]): string {
  const { exit, message } = assertThrows(() => parseRunArgs(args), ExitError);
  assertEquals(exit, Exit.USAGE);
  return message;
}

/** The seed's options: name, short name. */
const SEED = [
  ["endpoint", "e"],
  ["id", "i"],
  ["rootca", "r"],
  ["cert", "c"],
  ["key", "k"],
] as const;

for (const [name, short] of SEED) {
  pureTest(
    `--${name} and -${short} are optional and mean the same (iotcored-param-${name}-1, -2, -3)`,
    () => {
      const spellings = [
        [`--${name}`, "value"],
        [`--${name}=value`],
        [`-${short}`, "value"],
        [`-${short}=value`],
      ];
      for (const args of spellings) assertEquals(parseRunArgs(args).given, { [name]: "value" });
      assertEquals(parseRunArgs([]).given, {});
    },
  );
}

pureTest("--interface-name is also --interface_name and -n", () => {
  for (const spelling of ["--interface-name", "--interface_name", "-n"]) {
    assertEquals(parseRunArgs([spelling, "bus"]).given, { interfaceName: "bus" });
  }
});

pureTest("values stay texts, and of several the last one counts", () => {
  const { given } = parseRunArgs(["--port", "0443", "--id", "007", "--id", "1e3"]);
  assertEquals(given, { port: "0443", id: "1e3" });
});

pureTest("flags need no value and take none from the next word", () => {
  assertEquals(parseRunArgs(["--no-rate-limit", "--keep-qos0-when-offline", "-i", "a"]).given, {
    noRateLimit: "true",
    keepQos0WhenOffline: "true",
    id: "a",
  });
  assertStringIncludes(refusal("--no-rate-limit", "yes"), "yes");
});

pureTest("--no-proxy takes a list, with = and without, beside --proxy", () => {
  for (const args of [["--no-proxy=a,b"], ["--no-proxy", "a,b"]]) {
    assertEquals(parseRunArgs([...args, "--proxy", "http://p:1"]).given, {
      noProxy: "a,b",
      proxy: "http://p:1",
    });
    assertEquals(parseRunArgs(["--proxy=http://p:1", ...args]).given, {
      noProxy: "a,b",
      proxy: "http://p:1",
    });
  }
});

pureTest("an unknown option is refused and named", () => {
  for (const option of ["--frobnicate", "--frobnicate=1", "-z", "--no-frobnicate", "--Endpoint"]) {
    assertStringIncludes(refusal(option), option.replace(/=.*/, ""));
  }
});

pureTest("an option without its value is refused and named", () => {
  for (const args of [["--id"], ["--id="], ["--id", ""], ["-i"]]) {
    assertStringIncludes(refusal(...args), "--id");
  }
});

pureTest("a word that belongs to no option is refused and named", () => {
  assertStringIncludes(refusal("--id", "a", "surplus"), "surplus");
});

pureTest(
  "--connection-ceiling counts once: 1 unless it is given, and a second one is a mistake (iotcored-6)",
  () => {
    assertEquals(parseRunArgs([]).ceiling, 1);
    assertEquals(parseRunArgs(["--connection-ceiling", "3"]).ceiling, 3);
    assertEquals(parseRunArgs(["--connection-ceiling=3", "-i", "a"]).ceiling, 3);
    for (const second of ["3", "5"]) {
      const message = refusal(
        "--connection-ceiling",
        "3",
        "-i",
        "a",
        `--connection-ceiling=${second}`,
      );
      assertStringIncludes(message, "--connection-ceiling");
    }
    for (const bad of ["0", "-1", "1.5", "many", "1000", ""]) {
      assertStringIncludes(refusal(`--connection-ceiling=${bad}`), "--connection-ceiling");
    }
  },
);

pureTest("--help and --version are asked for instead of a daemon", () => {
  assertEquals(parseRunArgs(["--help"]).instead, "help");
  assertEquals(parseRunArgs(["-h", "-i", "a"]).instead, "help");
  assertEquals(parseRunArgs(["-V"]).instead, "version");
  assertEquals(parseRunArgs(["-i", "a"]).instead, undefined);
});

pureTest("an option that repeats keeps all its values in order", () => {
  const options: readonly Option[] = [
    { option: "topic", short: "t", value: "FILTER", repeats: true, help: "" },
    { option: "verbose", short: "v", help: "" },
  ];
  const { values, words } = parseOptions(["-t", "a", "-v", "--topic=b", "-t", "c"], options);
  assertEquals([values.get("topic"), values.get("verbose"), words], [
    ["a", "b", "c"],
    ["true"],
    [],
  ]);
});
