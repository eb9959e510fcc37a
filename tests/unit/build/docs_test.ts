import { checkPage } from "../../../src/build/check.ts";
import { configPage, metricsPage } from "../../../src/build/docs.ts";
import { SETTINGS } from "../../../src/config/settings.ts";
import { prometheusText } from "../../../src/status/prometheus.ts";
import { SAMPLE_STATUS } from "../../support/sample_status.ts";
import { assert, assertEquals } from "../../deps.ts";

/** The text of a page, but for what `deno fmt` does to it. */
function words(text: string): string {
  return text.replaceAll(/[\s|-]+/g, " ");
}

function read(name: string): Promise<string> {
  return Deno.readTextFile(new URL(`../../../docs/${name}`, import.meta.url));
}

Deno.test("docs/config.md is what the table of settings says; deno task docs writes it", async () => {
  const written = await read("config.md");
  assertEquals(words(written), words(configPage()));
  for (const { option } of Object.values(SETTINGS)) assert(written.includes(`--${option}`), option);
});

Deno.test("docs/metrics.md is what the table of the status says; deno task docs writes it", async () => {
  const written = await read("metrics.md");
  assertEquals(words(written), words(metricsPage()));
});

Deno.test("docs/metrics.md has every metric that status --prometheus prints, and no other", async () => {
  const listed = [...(await read("metrics.md")).matchAll(/^\| `(iotcored_\w+)`/gm)];
  const printed = [...prometheusText(SAMPLE_STATUS).matchAll(/^# TYPE (\w+)/gm)];
  assertEquals(listed.map((match) => match[1]).sort(), printed.map((match) => match[1]).sort());
});

Deno.test("docs/security.md lists what deno.json lets the program do", async () => {
  checkPage(await read("security.md"));
});
