import type { Clock } from "../../src/base/clock.ts";
import type { FaultHook } from "../../src/base/fault.ts";
import type { Log } from "../../src/base/log.ts";
import type { RateLimits } from "../../src/aws/rate_window.ts";
import { Intake } from "../../src/publish/intake.ts";
import { PubackWaiters } from "../../src/publish/puback.ts";
import { Publisher } from "../../src/publish/publisher.ts";
import { Qos0Queue } from "../../src/publish/qos0_queue.ts";
import { SendGate } from "../../src/publish/send_gate.ts";
import { MemoryStorage } from "../../src/spool/memory_storage.ts";
import { Spool } from "../../src/spool/spool.ts";

/** What a test may want to be other than usual. */
export interface PublishingOptions {
  readonly maxBytes?: number;
  readonly limits?: RateLimits | undefined;
  readonly maxInFlight?: number;
  readonly keepQos0WhenOffline?: boolean;
  readonly fault?: FaultHook | undefined;
}

/** What publishes messages, over a memory spool and without a connection. */
export function publishing(clock: Clock, log: Log, options: PublishingOptions = {}) {
  const { maxBytes = 1_000_000, limits, maxInFlight = 100, fault } = options;
  const spool = new Spool({ storage: new MemoryStorage(), maxBytes, clock, log });
  const queue = new Qos0Queue();
  const waiters = new PubackWaiters(clock);
  const gate = new SendGate(clock, log);
  const shared = { spool, queue, waiters, gate, clock, fault };
  const publisher = new Publisher({ ...shared, log, random: () => 0.5, limits, maxInFlight });
  const { keepQos0WhenOffline = false } = options;
  const intake = new Intake({ ...shared, publisher, keepQos0WhenOffline });
  return { spool, queue, waiters, gate, publisher, intake };
}
