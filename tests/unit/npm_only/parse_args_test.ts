import { parseArgs } from "../../../deps.ts";
import { assertEquals, pureTest } from "../../deps.ts";

// What the original of `@std/cli` and its stand-in both do with the forms that the program gives them: the test runs against
// whichever is in use.

/** Values that an implementation may take for something else than a text. */
const VALUES = [
  ...["a", "", "-", "--", "-5", "--a", "=", "=a", "a=b", "1", "007", "1e3", "0x10", "true"],
  ...["false", "null", "a.b", "a b", " ", "\n", "a\nb", "__proto__", "é", "\u{1f980}", "[]"],
];

const options = { string: ["option-a", "option-no-b"], collect: ["option-a", "option-no-b"] };

pureTest("parseArgs takes whatever follows = for the value, as text", () => {
  for (const value of VALUES) {
    for (const flag of options.string) {
      assertEquals(parseArgs([`--${flag}=${value}`], options)[flag], [value], `${flag} ${value}`);
    }
  }
});

pureTest("parseArgs keeps every value of a collected flag, in their order", () => {
  const args = VALUES.map((value) => `--option-a=${value}`);
  assertEquals(parseArgs(args, options)["option-a"], VALUES);
  for (const first of VALUES) {
    for (const second of VALUES) {
      const read = parseArgs(
        [`--option-a=${first}`, "--option-no-b=x", `--option-a=${second}`],
        options,
      );
      assertEquals([read["option-a"], read["option-no-b"]], [[first, second], ["x"]]);
    }
  }
});

pureTest("parseArgs gives an empty list for a collected flag that is absent", () => {
  assertEquals(parseArgs([], options), { _: [], "option-a": [], "option-no-b": [] });
});

pureTest("parseArgs leaves everything behind -- as it is", () => {
  const words = [...VALUES, "--option-a=x", "-option", "--"];
  assertEquals(parseArgs(["--option-a=y", "--", ...words], options), {
    _: words,
    "option-a": ["y"],
    "option-no-b": [],
  });
});
