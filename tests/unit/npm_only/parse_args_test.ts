import { parseArgs } from "../../../deps.ts";
import { assertEquals } from "../../deps.ts";

// What the original of `@std/cli` and its stand-in both do: the test runs against whichever is in use.

const options = {
  alias: { endpoint: ["e"], "no-proxy": [], verbose: ["v"], topic: ["t"] },
  boolean: ["verbose", "no-limit"],
  string: ["_", "endpoint", "no-proxy", "topic"],
  collect: ["topic"],
};

Deno.test("parseArgs reads a value after a space and after =", { permissions: "none" }, () => {
  assertEquals(parseArgs(["--endpoint", "a"], options).endpoint, "a");
  assertEquals(parseArgs(["--endpoint=a=b"], options).endpoint, "a=b");
  assertEquals(parseArgs(["-e", "a"], options).endpoint, "a");
});

Deno.test("parseArgs gives a flag its aliases' value", { permissions: "none" }, () => {
  const { verbose, v } = parseArgs(["-v"], options);
  assertEquals([verbose, v], [true, true]);
});

Deno.test("parseArgs gives false for a boolean and nothing for a string that are absent", {
  permissions: "none",
}, () => {
  const parsed = parseArgs([], options);
  assertEquals([parsed.verbose, parsed["no-limit"], parsed.endpoint], [false, false, undefined]);
});

Deno.test("parseArgs gives an empty string for a string flag without its value", {
  permissions: "none",
}, () => {
  assertEquals(parseArgs(["--endpoint"], options).endpoint, "");
  assertEquals(parseArgs(["--endpoint", "--verbose"], options).endpoint, "");
});

Deno.test("parseArgs takes the last of a repeated flag and the list of a collected one", {
  permissions: "none",
}, () => {
  assertEquals(parseArgs(["-e", "a", "--endpoint", "b"], options).endpoint, "b");
  assertEquals(parseArgs(["-t", "a", "--topic", "b"], options).topic, ["a", "b"]);
  assertEquals(parseArgs(["-t", "a"], options).topic, ["a"]);
  assertEquals(parseArgs([], options).topic, []);
});

Deno.test("parseArgs leaves flags that start with no- as they are", { permissions: "none" }, () => {
  const parsed = parseArgs(["--no-proxy", "a,b", "--no-limit"], options);
  assertEquals([parsed["no-proxy"], parsed["no-limit"], parsed.proxy], ["a,b", true, undefined]);
  assertEquals(parseArgs(["--no-limit", "word"], options)._, ["word"]);
});

Deno.test("parseArgs keeps words as text, and everything after --", { permissions: "none" }, () => {
  assertEquals(parseArgs(["1", "-v", "--", "--endpoint"], options)._, ["1", "--endpoint"]);
});

Deno.test("parseArgs reports what is not declared, with its name", { permissions: "none" }, () => {
  const seen: [string, string | undefined][] = [];
  const unknown = (arg: string, key?: string): boolean => {
    seen.push([arg, key]);
    return key === undefined;
  };
  const parsed = parseArgs(["--nope", "--no=1", "word", "-x"], { ...options, unknown });
  assertEquals(seen.map(([, key]) => key), ["nope", "no", undefined, "x"]);
  assertEquals(parsed._, ["word"]);
  assertEquals(parsed.nope, undefined);
});
