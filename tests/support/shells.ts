import { SHELLS } from "../../src/cli/completions.ts";
import { allCommands } from "../../src/cli/commands.ts";
import { tempDir } from "./temp.ts";

/** Prints what bash offers at the end of each of its arguments, a line each. */
const BASH = `source "$1"; shift
for line; do
  read -ra COMP_WORDS <<<"$line"
  [[ $line == *' ' ]] && COMP_WORDS+=('')
  COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 ))
  _iotcored
  echo "\${COMPREPLY[*]}"
done`;

/** The same of fish, which prints descriptions behind tabs. */
const FISH = `source $argv[1]
for line in $argv[2..]
  printf '%s ' (complete -C $line | string replace -r '\\t.*' '')
  echo
end`;

const ZSH = new URL("complete.zsh", import.meta.url).pathname;

/** How each shell is asked. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  bash: ["bash", "-uc", BASH, "bash"],
  fish: ["fish", "--no-config", "-c", FISH],
  zsh: ["zsh", "-f", ZSH],
};

/** Whether a program is on this machine. */
export function isInstalled(name: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((dir) => {
    try {
      return Deno.statSync(`${dir}/${name}`).isFile;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
        return false;
      }
      throw error;
    }
  });
}

/** What a shell offers at the end of each line, sorted and without duplicates. */
export async function offered(shell: string, lines: readonly string[]): Promise<string[][]> {
  const script = SHELLS[shell]!(await allCommands());
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/script`, script);
  const [program, ...args] = COMMANDS[shell]!;
  const { success, stdout, stderr } = await new Deno.Command(program!, {
    args: [...args, `${dir.path}/script`, ...lines],
    env: { HOME: dir.path },
    signal: AbortSignal.timeout(60_000),
  }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`${shell} failed: ${decoder.decode(stderr)}`);
  const printed = decoder.decode(stdout).trimEnd().split("\n");
  return lines.map((_, i) => [...new Set(printed[i]?.split(/\s+/).filter(Boolean))].sort());
}
