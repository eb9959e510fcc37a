import config from "../../deno.json" with { type: "json" };

/** The version of the program. */
export const VERSION: string = config.version;

/** No clock that is right says a time before this, in ms since the epoch: the program is younger. */
export const EARLIEST_MS = Date.UTC(2026, 0, 1);
