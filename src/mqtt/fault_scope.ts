import { AsyncLocalStorage } from "node:async_hooks";
import { claimUncaught } from "../base/uncaught.ts";

const current = new AsyncLocalStorage<FaultScope | undefined>();

/** The scopes of attempts that are under way. */
const connecting = new Set<FaultScope>();

let claiming = false;

/**
 * Takes what the runtime and MQTT.js throw where nobody can catch it, in ticks and promises of their own: it belongs to the
 * attempt, or to the link, in whose scope that was started. The last line of defence, behind the callbacks that are guarded.
 *
 * A timer has no such context when it throws. What is thrown there by code of the runtime alone, and so not by a callback of
 * ours, counts for every attempt that is under way: only attempts start such timers.
 */
export class FaultScope {
  /** @param onFault Gets what was thrown, also after {@linkcode settled} */
  constructor(readonly onFault: (error: unknown) => void) {
    connecting.add(this);
    if (!claiming) claimUncaught(claim);
    claiming = true;
  }

  /** Runs a function; what it starts belongs to this scope. */
  run<T>(fn: () => T): T {
    return current.run(this, fn);
  }

  /** The attempt is over: from now on the scope takes only what certainly belongs to it. */
  settled(): void {
    connecting.delete(this);
  }
}

/** Runs a function from within a scope whose doings are none of the scope's: what it starts and throws there stays uncaught. */
export function outside<T>(fn: () => T): T {
  return current.run(undefined, fn);
}

/** As {@linkcode outside}, and what the function itself throws is uncaught too, as nobody who calls it could do anything. */
export function detached(fn: () => void): void {
  outside(() => {
    try {
      fn();
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  });
}

function claim(error: unknown): boolean {
  const scope = current.getStore();
  const scopes = scope !== undefined ? [scope] : isOfRuntime(error) ? [...connecting] : [];
  for (const { onFault } of scopes) onFault(error);
  return scopes.length > 0;
}

/** Whether the stack of an error holds no code but Deno's own. */
function isOfRuntime(error: unknown): boolean {
  const stack = error instanceof Error ? error.stack ?? "" : "";
  const frames = stack.split("\n").filter((line) => /^\s+at /.test(line));
  return frames.length > 0 &&
    frames.every((frame) => /\((?:ext|node):|at (?:ext|node):/.test(frame));
}
