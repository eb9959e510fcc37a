import { allCommands } from "../../src/cli/commands.ts";
import { SHELLS } from "../../src/cli/completions.ts";
import { assertEquals } from "../deps.ts";
import { isInstalled, offered } from "../support/shells.ts";

/** What stands on the line, and what every shell offers at its end. */
const CASES: [line: string, offers: string[]][] = [
  ["iotcored publ", ["publish"]],
  ["iotcored publish --me", ["--message", "--message-expiry"]],
  ["iotcored publish -q ", ["0", "1"]],
  ["iotcored publish --ack b", ["broker"]],
  ["iotcored publish -t ", []],
  ["iotcored --log-format te", ["text"]],
  ["iotcored run --log-format te", ["text"]],
  ["iotcored publish -t status --js", []],
  ["iotcored quarantine re", ["retry"]],
  ["iotcored help st", ["status"]],
  ["iotcored completions ", ["bash", "fish", "zsh"]],
];

for (const shell of Object.keys(SHELLS)) {
  const ignore = !isInstalled(shell);

  Deno.test(
    { name: `${shell} completes subcommands, options, choices and words`, ignore },
    async () => {
      const offers = await offered(shell, CASES.map(([line]) => line));
      assertEquals(CASES.map(([line], i) => [line, offers[i]!]), CASES);
    },
  );

  Deno.test(
    { name: `${shell} offers the options that the table has, and no other`, ignore },
    async () => {
      const commands = await allCommands();
      const offers = await offered(shell, commands.map(({ name }) => `iotcored ${name} --`));
      const long = commands.map(({ options, name }) => [
        name,
        options.map(({ option }) => `--${option}`).sort(),
      ]);
      assertEquals(commands.map(({ name }, i) => [name, offers[i]]), long);
    },
  );

  Deno.test({ name: `${shell} completes the paths of files and folders`, ignore }, async () => {
    const [file, folder] = await offered(shell, [
      "iotcored publish -f /etc/passw",
      "iotcored run --spool /var/li",
    ]);
    const last = (path: string): string => path.replace(/\/$/, "").split("/").at(-1)!;
    assertEquals(file!.map(last).includes("passwd"), true, file!.join());
    assertEquals(folder!.map(last).includes("lib"), true, folder!.join());
  });
}
