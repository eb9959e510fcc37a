import type { Trie } from "../topic/trie.ts";

/** What deciding who gets a message needs of an assignment. */
export interface Source<T> {
  readonly index: number;
  readonly trie: Pick<Trie<T>, "match">;
  readonly sync: { readonly delivers: boolean };
}

/**
 * Who gets a message that arrived on a connection. When the filters of one subscription are on several, the broker
 * sends a copy over each: the one of the lowest connection counts, so that none is invented that a single connection would
 * not have brought.
 *
 * @param virtual Those who get what arrives without having subscribed at the broker.
 */
export function receivers<T>(
  assignments: ReadonlyMap<number, Source<T>>,
  virtual: Pick<Trie<T>, "match" | "size">,
  index: number,
  topic: string,
): readonly T[] {
  const assignment = assignments.get(index);
  if (assignment === undefined) return [];
  const found = assignment.trie.match(topic);
  const served = assignments.size === 1 ? undefined : servedBelow(assignments, index, topic);
  const own = served === undefined ? found : found.filter((one) => !served.has(one));
  if (virtual.size === 0 || served !== undefined) return own;
  return [...own, ...virtual.match(topic)];
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
    for (const one of found) served.add(one);
  }
  return served;
}
