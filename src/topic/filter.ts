/**
 * Topics and filters: what is allowed, and what matches.
 *
 * @module
 */

import { MAX_TOPIC_BYTES, MAX_TOPIC_SLASHES } from "../aws/limits.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";

/** Longest string of MQTT, in bytes of UTF-8, with its prefix [MQTT-1.5.3]. */
const MAX_STRING_BYTES = 65_535;

const SHARE_PREFIX = "$share/";
const RESERVED_PREFIX = "$aws/";
const BASIC_INGEST_PREFIX = "$aws/rules/";

const SLASH = "/";

/**
 * Refuses a topic that a PUBLISH must not have, or that AWS IoT Core closes the connection for. The prefix
 * `$aws/rules/<rule>/` does not count for its size.
 *
 * @throws {BusError} INVALID when it is empty [MQTT-4.7.3-1], holds `+` or `#` [MQTT-3.3.2-2] or NUL [MQTT-4.7.3-2];
 * RANGE when it has more than 256 bytes, or 7 slashes and is not under `$aws/`. The message does not hold the topic.
 */
export function checkTopic(topic: string): void {
  if (topic === "") throw invalid("topic", topic, "not be empty");
  if (topic.includes("+") || topic.includes("#")) throw invalid("topic", topic, "not hold + or #");
  checkText("topic", topic, afterBasicIngest(topic));
}

/**
 * Refuses a filter that a SUBSCRIBE must not have, or that AWS IoT Core closes the connection for. The prefix
 * `$share/<group>/` does not count for its size.
 *
 * @throws {BusError} INVALID when it or its group is empty [MQTT-4.7.3-1] [MQTT5-4.8.2-1], its group holds a wildcard
 * [MQTT5-4.8.2-2], `#` or `+` is not a level of its own or `#` not the last one [MQTT-4.7.1-2] [MQTT-4.7.1-3], it holds
 * NUL [MQTT-4.7.3-2] or begins with `$aws/rules/`; RANGE when it has more than 256 bytes, or 7 slashes and is
 * not under `$aws/`. The message does not hold the filter.
 */
export function checkFilter(filter: string): void {
  const start = afterShare(filter);
  if (start === filter.length) throw invalid("filter", filter, "not be empty");
  if (filter.startsWith(SHARE_PREFIX)) checkGroup(filter, start);
  if (filter.startsWith(BASIC_INGEST_PREFIX, start)) {
    throw invalid("filter", filter, "not begin with $aws/rules/");
  }
  checkWildcards(filter, start);
  checkText("filter", filter, start);
}

/** What a filter matches by: the filter without `$share/<group>/`, which only chooses who gets a message. */
export function localFilter(filter: string): string {
  return filter.slice(afterShare(filter));
}

/**
 * Whether a valid filter matches a valid topic [MQTT-4.7]; a `$share/` prefix is taken literally, so strip it before.
 * `a/#` matches `a`, and a wildcard at the start does not match `$` [MQTT-4.7.2-1].
 */
export function matches(filter: string, topic: string): boolean {
  const wanted = filter.split("/");
  const levels = topic.split("/");
  if (topic.startsWith("$") && (wanted[0] === "#" || wanted[0] === "+")) return false;
  for (const [i, want] of wanted.entries()) {
    if (want === "#") return true;
    const level = levels[i];
    if (level === undefined || (want !== "+" && want !== level)) return false;
  }
  return wanted.length === levels.length;
}

/** Where the part of a topic that counts begins. */
function afterBasicIngest(topic: string): number {
  if (!topic.startsWith(BASIC_INGEST_PREFIX)) return 0;
  const slash = topic.indexOf("/", BASIC_INGEST_PREFIX.length);
  return slash > BASIC_INGEST_PREFIX.length ? slash + 1 : 0;
}

/** Where the part of a filter that matches begins. */
function afterShare(filter: string): number {
  if (!filter.startsWith(SHARE_PREFIX)) return 0;
  const slash = filter.indexOf("/", SHARE_PREFIX.length);
  return slash > SHARE_PREFIX.length ? slash + 1 : 0;
}

/** @param start Where the filter proper begins, 0 when no group was found. */
function checkGroup(filter: string, start: number): void {
  if (start === 0) throw invalid("filter", filter, "have a group and a filter after $share/");
  const group = filter.slice(SHARE_PREFIX.length, start);
  if (group.includes("+") || group.includes("#")) {
    throw invalid("filter", filter, "have a group without + and #");
  }
}

function checkWildcards(filter: string, start: number): void {
  for (let i = start; i < filter.length; i++) {
    const unit = filter[i];
    if (unit !== "+" && unit !== "#") continue;
    const last = i + 1 === filter.length;
    if ((i > start && filter[i - 1] !== SLASH) || (!last && filter[i + 1] !== SLASH)) {
      throw invalid("filter", filter, "have + and # as whole levels");
    }
    if (unit === "#" && !last) throw invalid("filter", filter, "have # as its last level");
  }
}

/** Checks what holds for every topic and filter; only what comes after `start` counts for AWS. */
function checkText(what: "topic" | "filter", text: string, start: number): void {
  if (text.includes("\0")) throw invalid(what, text, "not hold U+0000");
  if (!text.isWellFormed()) throw invalid(what, text, "be UTF-8");
  checkSize(what, "bytes", byteLength(text, start), MAX_TOPIC_BYTES);
  // Documented topics under $aws/ go deeper: the broker is the judge of those.
  if (!text.startsWith(RESERVED_PREFIX, start)) {
    checkSize(what, "slashes", slashes(text, start), MAX_TOPIC_SLASHES);
  }
  if (start > 0) checkSize(what, "bytes in all", byteLength(text, 0), MAX_STRING_BYTES);
}

function checkSize(what: string, unit: string, size: number, most: number): void {
  if (size <= most) return;
  throw new BusError(
    BusErrorCode.RANGE,
    `Cannot use a ${what}: it must have at most ${most} ${unit}, got ${size}`,
  );
}

function slashes(text: string, start: number): number {
  let count = 0;
  for (let at = text.indexOf(SLASH, start); at >= 0; at = text.indexOf(SLASH, at + 1)) count++;
  return count;
}

/** The bytes of UTF-8 from `start` on, counted because encoding would allocate for each publish. */
function byteLength(text: string, start: number): number {
  let bytes = text.length - start;
  for (let i = start; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    // Each half of a surrogate pair stands for two of its four bytes.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}

function invalid(what: "topic" | "filter", text: string, rule: string): BusError {
  const got = `got one of ${byteLength(text, 0)} bytes`;
  return new BusError(BusErrorCode.INVALID, `Cannot use a ${what}: it must ${rule}, ${got}`);
}
