import { configPage } from "../../../src/build/docs.ts";
import { SETTINGS } from "../../../src/config/settings.ts";
import { assert, assertEquals } from "../../deps.ts";

Deno.test("docs/config.md is what the table of settings says; deno task docs writes it", async () => {
  const words = (text: string): string => text.replaceAll(/[\s|-]+/g, " ");
  const written = await Deno.readTextFile(new URL("../../../docs/config.md", import.meta.url));
  assertEquals(words(written), words(configPage()));
  for (const { option } of Object.values(SETTINGS)) assert(written.includes(`--${option}`), option);
});
