import config from "../../deno.json" with { type: "json" };

/** The version of the program. */
export const VERSION: string = config.version;

/** No clock that is right says a time before this, in ms since the epoch: the program is younger. */
export const EARLIEST_MS = Date.UTC(2026, 0, 1);

/** The name under which the build puts the commit before the program. */
export const COMMIT_GLOBAL = "IOTCORED_COMMIT";

/** What `--version` prints: the version, what runs it, and what it was made from. */
export function versionText(): string {
  const commit = (globalThis as { [COMMIT_GLOBAL]?: string })[COMMIT_GLOBAL];
  const { deno, v8 } = Deno.version;
  return `iotcored ${VERSION}
deno ${deno}, v8 ${v8}, ${Deno.build.target}
commit ${commit ?? "of the source that it runs from"}
`;
}
