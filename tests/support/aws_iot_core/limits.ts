/** Limits of AWS IoT Core, as in `aws-iot-core.md`. */
export const LIMITS = {
  subscriptions: 50,
  filtersPerSubscribe: 8,
  payloadBytes: 131_072,
  topicBytes: 256,
  topicSlashes: 7,
  clientIdBytes: 128,
} as const;

const encoder = new TextEncoder();

/** The bytes of a string in UTF-8. */
export function utf8Length(text: string): number {
  return encoder.encode(text).length;
}

/** What is wrong with the topic of a PUBLISH, if anything. `$aws/rules/<rule>/` does not count. */
export function topicProblem(topic: string): string | undefined {
  if (topic === "") return "empty topic";
  if (/[+#\0]/.test(topic)) return "topic with a wildcard or NUL";
  return sizeProblem(topic.replace(/^\$aws\/rules\/[^/]+\//, ""));
}

/** What is wrong with the filter of a SUBSCRIBE, if anything. `$share/<group>/` does not count. */
export function filterProblem(filter: string): string | undefined {
  const bare = filter.replace(/^\$share\/[^/]+\//, "");
  if (bare === "") return "empty filter";
  if (/^\$aws\/rules\//.test(bare)) return "subscription to a Basic Ingest topic";
  for (const [i, level] of bare.split("/").entries()) {
    if (level.includes("+") && level !== "+") return "filter with + beside other characters";
    if (level.includes("#") && (level !== "#" || i !== bare.split("/").length - 1)) {
      return "filter with # before its end";
    }
  }
  return sizeProblem(bare);
}

/** What is wrong with a client id, if anything. */
export function clientIdProblem(clientId: string): string | undefined {
  if (clientId.startsWith("$")) return "client id that starts with $";
  const bytes = utf8Length(clientId);
  return bytes > LIMITS.clientIdBytes ? `client id of ${bytes} bytes` : undefined;
}

function sizeProblem(topic: string): string | undefined {
  const bytes = utf8Length(topic);
  if (bytes > LIMITS.topicBytes) return `topic of ${bytes} bytes`;
  const slashes = topic.split("/").length - 1;
  return slashes > LIMITS.topicSlashes ? `topic with ${slashes} slashes` : undefined;
}

/** Counts events in a sliding window. */
export class SlidingWindow {
  #times: number[] = [];

  /** Counts an event at `now` (ms) unless the window that ends there already holds `limit`. */
  take(now: number, limit: number, windowMs = 1_000): boolean {
    let old = 0;
    while (old < this.#times.length && this.#times[old]! <= now - windowMs) old++;
    if (old > 0) this.#times = this.#times.slice(old);
    if (this.#times.length >= limit) return false;
    this.#times.push(now);
    return true;
  }
}

/** What a second held at most. */
export interface BusiestSecond {
  readonly messages: number;
  /** Of topics and payloads. */
  readonly bytes: number;
}

/** The most messages and the most bytes that any window of a second holds; `at` in ms, ascending. */
export function busiestSecond(
  messages: readonly {
    readonly at: number;
    readonly topic: string;
    readonly payload: Uint8Array;
  }[],
): BusiestSecond {
  const sizes = messages.map(({ topic, payload }) => utf8Length(topic) + payload.length);
  const most = { messages: 0, bytes: 0 };
  let first = 0;
  let bytes = 0;
  for (const [i, { at }] of messages.entries()) {
    bytes += sizes[i]!;
    while (messages[first]!.at <= at - 1_000) bytes -= sizes[first++]!;
    most.messages = Math.max(most.messages, i - first + 1);
    most.bytes = Math.max(most.bytes, bytes);
  }
  return most;
}
