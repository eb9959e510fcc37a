import { Exit, type Exit as ExitCode } from "../base/errors.ts";
import type { Parsed } from "./args.ts";
import { connectTool, socketOf, type Tool, TOOL_OPTIONS } from "./tool.ts";
import { exitNotes, toolError } from "./tool_errors.ts";

/** `iotcored reconnect`. */
export const RECONNECT: Tool = {
  command: {
    name: "reconnect",
    summary: "Has the daemon connect anew at once, with credentials that are read again.",
    usage: ["reconnect"],
    options: TOOL_OPTIONS,
    notes: [
      "A wait before the next attempt ends; a connection that is up is made again. What is not",
      "acknowledged is sent again then.",
      "",
      ...exitNotes(),
    ],
    examples: [
      ["iotcored reconnect && iotcored status --wait-connected 10", "try now, and see"],
    ],
  },
  run: reconnect,
};

async function reconnect(parsed: Parsed): Promise<ExitCode> {
  await using client = await connectTool(socketOf(parsed));
  try {
    await client.reconnect();
    return Exit.OK;
  } catch (error) {
    throw toolError(error, client.socket);
  }
}
