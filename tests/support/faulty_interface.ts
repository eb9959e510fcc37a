/**
 * Stands in the place of `src/daemon/bus_methods.ts` in a program that {@linkcode startFaultyProgram} starts: the same methods, but
 * `publish` has the bug that the topic names.
 */

import { fromUtf8 } from "../../src/base/bytes.ts";
import type { CallMethod, MethodTable } from "../../src/bus/methods.ts";
import { busMethods as methods, type MethodOptions } from "../../src/daemon/bus_methods.ts";

/** What goes wrong, by topic; in each case but the first the message is accepted before. */
const BUGS: Readonly<Record<string, () => void>> = {
  "bug/timer": () => void setTimeout(() => fail("in a timer"), 0),
  "bug/microtask": () => queueMicrotask(() => fail("in a microtask")),
  "bug/rejection": () => void Promise.resolve().then(() => fail("in a promise")),
};

function fail(where: string): never {
  throw new TypeError(`a bug ${where}`);
}

/** The methods of the program, one of which is faulty. */
export function busMethods(options: MethodOptions): MethodTable {
  const table: MethodTable = methods(options);
  const publish = table["publish"] as CallMethod;
  return {
    ...table,
    publish: {
      kind: "call",
      run(map, reply) {
        const topic = fromUtf8(map.get("topic") as Uint8Array) ?? "";
        if (topic === "bug/handler") fail("in a handler");
        const result = publish.run(map, reply);
        BUGS[topic]?.();
        return result;
      },
    },
  };
}
