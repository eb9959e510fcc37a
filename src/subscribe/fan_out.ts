import type { Bytes } from "../base/bytes.ts";
import type { Delivery } from "../mqtt/link.ts";
import type { Trie } from "../topic/trie.ts";
import type { Copies } from "./copies.ts";

/** One filter at the broker, and who gets its messages. */
export interface SharedFilter<T> {
  readonly filter: string;
  readonly users: ReadonlySet<T>;
}

/** What deciding who gets a message needs of an assignment. */
export interface Source<T> {
  readonly index: number;
  readonly trie: Pick<Trie<SharedFilter<T>>, "match">;
  readonly copies: Copies;
  readonly sync: {
    readonly delivers: boolean;
    has(filter: string, qos: 0): boolean;
    filterOf(identifier: number): string | undefined;
  };
}

/** A message that arrived on the connection with this number. */
export interface Arrival extends Delivery {
  readonly index: number;
  readonly topic: string;
  readonly payload: Bytes;
  /** When, in ms of the clock. */
  readonly at: number;
}

/** Those who get what arrives without having subscribed at the broker. */
type Virtual<T> = Pick<Trie<T>, "match" | "size">;

/** Who has a filter that a retained message came for, each once: of them only those who wait for it get it. */
export function subscribers<T>(
  assignments: ReadonlyMap<number, Source<T>>,
  { index, topic, identifiers }: Arrival,
): Iterable<T> {
  const source = assignments.get(index);
  if (source === undefined) return [];
  const matching = source.trie.match(topic);
  const named = namedBy(source, matching, identifiers);
  return usersOf(named.length > 0 ? named : matching);
}

/**
 * Who gets a message, each once: of copies that the broker sends for several filters, on one connection or on several, one counts.
 * When the filters of one subscription are on several connections, the copy of the lowest counts, so that none is invented that a
 * single connection would not have brought.
 */
export function receivers<T>(
  assignments: ReadonlyMap<number, Source<T>>,
  virtual: Virtual<T>,
  arrival: Arrival,
): Iterable<T> {
  const source = assignments.get(arrival.index);
  if (source === undefined) return [];
  const { found, isNew } = ofConnection(source, arrival);
  const served = assignments.size === 1
    ? undefined
    : servedBelow(assignments, arrival.index, arrival.topic);
  if (served !== undefined) return [...found].filter((one) => !served.has(one));
  if (virtual.size === 0 || !isNew) return found;
  return [...found, ...virtual.match(arrival.topic)];
}

/** Who gets a message of one connection, and whether it is no copy of one that came before. */
function ofConnection<T>(
  source: Source<T>,
  { topic, payload, at, identifiers }: Arrival,
): { readonly found: Iterable<T>; readonly isNew: boolean } {
  const { copies } = source;
  const matching = source.trie.match(topic);
  const named = matching.length < 2 ? [] : namedBy(source, matching, identifiers);
  if (named.length > 0) {
    const isNew = copies.named(topic, payload, at, namesOf(named));
    const own = (one: T): readonly string[] =>
      namesOf(matching.filter(({ users }) => users.has(one)));
    const found = [...usersOf(named)].filter((one) => isNew(own(one)));
    return { found, isNew: isNew(namesOf(matching)) };
  }
  const filters = matching.length < 2 ? 0 : copied(source, matching);
  if (filters < 2) copies.end();
  else if (!copies.unnamed(topic, payload, at, filters)) return { found: [], isNew: false };
  return { found: usersOf(matching), isNew: true };
}

/** For how many filters the broker may send a copy; 0 when that cannot be said, as others have a part in a filter. */
function copied<T>({ sync }: Source<T>, matching: readonly SharedFilter<T>[]): number {
  if (matching.some(({ filter }) => filter.startsWith("$share/"))) return 0;
  return matching.filter(({ filter }) => sync.has(filter, 0)).length;
}

/** The filters whose identifiers came with a message; none when the broker does not say or means what is no more. */
function namedBy<T>(
  { sync }: Source<T>,
  matching: readonly SharedFilter<T>[],
  identifiers: readonly number[],
): readonly SharedFilter<T>[] {
  if (identifiers.length === 0) return [];
  const names = new Set(identifiers.map((identifier) => sync.filterOf(identifier)));
  return matching.filter(({ filter }) => names.has(filter));
}

function namesOf(filters: readonly SharedFilter<unknown>[]): readonly string[] {
  return filters.map(({ filter }) => filter);
}

function usersOf<T>(filters: readonly SharedFilter<T>[]): Iterable<T> {
  const [first] = filters;
  if (first === undefined) return [];
  if (filters.length === 1) return first.users;
  const all = new Set<T>();
  for (const { users } of filters) for (const user of users) all.add(user);
  return all;
}

/** Who gets a copy over a lower connection; `undefined` when none brings one. */
function servedBelow<T>(
  assignments: ReadonlyMap<number, Source<T>>,
  index: number,
  topic: string,
): ReadonlySet<T> | undefined {
  let served: Set<T> | undefined;
  for (const other of assignments.values()) {
    if (other.index >= index || !other.sync.delivers) continue;
    const found = other.trie.match(topic);
    if (found.length === 0) continue;
    served ??= new Set();
    for (const { users } of found) for (const user of users) served.add(user);
  }
  return served;
}
