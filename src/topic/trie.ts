/** One level of the filters. Most levels have no fork and no end: what is not needed is not made. */
interface Node<T> {
  /** By the text of the next level, wildcards included. */
  children: Map<string, Node<T>> | undefined;
  /** Who holds the filter that ends here; never empty. */
  values: Set<T> | undefined;
}

/**
 * Filters and the values that hold them, for finding all values of a topic in time that does not grow with the filters.
 * Filters are valid and without `$share/<group>/`, topics valid.
 */
export class Trie<T> {
  readonly #root: Node<T> = createNode();
  #size = 0;
  #nodes = 0;
  /** What matched the topic that was asked for last: messages of a topic often come in a row. */
  #last: { readonly topic: string; readonly matches: readonly T[] } | undefined;

  /** How many pairs of filter and value there are. */
  get size(): number {
    return this.#size;
  }

  /** How many levels are kept for them, counting what filters share once: 0 when there are no filters. */
  get nodes(): number {
    return this.#nodes;
  }

  /** Adds a value to a filter; does nothing when it has it already. */
  add(filter: string, value: T): void {
    let node = this.#root;
    for (const level of filter.split("/")) {
      const children = node.children ??= new Map();
      let child = children.get(level);
      if (child === undefined) {
        children.set(level, child = createNode());
        this.#nodes++;
      }
      node = child;
    }
    const values = node.values ??= new Set();
    if (values.has(value)) return;
    values.add(value);
    this.#size++;
    this.#last = undefined;
  }

  /** Takes a value from a filter, and says whether it was there. */
  remove(filter: string, value: T): boolean {
    const levels = filter.split("/");
    const path = [this.#root];
    for (const level of levels) {
      const child = path.at(-1)!.children?.get(level);
      if (child === undefined) return false;
      path.push(child);
    }
    const end = path.at(-1)!;
    if (end.values === undefined || !end.values.delete(value)) return false;
    if (end.values.size === 0) end.values = undefined;
    this.#size--;
    this.#last = undefined;
    for (let i = levels.length; i > 0 && isEmpty(path[i]!); i--) {
      removeChild(path[i - 1]!, levels[i - 1]!);
      this.#nodes--;
    }
    return true;
  }

  /** The values of all filters that match a topic, each once, in an array that does not change. */
  match(topic: string): readonly T[] {
    if (this.#last?.topic !== topic) this.#last = { topic, matches: this.#find(topic) };
    return this.#last.matches;
  }

  #find(topic: string): readonly T[] {
    const found: Set<T>[] = [];
    const levels = topic.split("/");
    if (topic.startsWith("$")) {
      // Wildcards do not match a first level with `$` [MQTT-4.7.2-1].
      const child = this.#root.children?.get(levels[0]!);
      if (child !== undefined) collect(child, levels, 1, found);
    } else {
      collect(this.#root, levels, 0, found);
    }
    if (found.length === 0) return [];
    if (found.length === 1) return [...found[0]!];
    const distinct = new Set<T>();
    for (const values of found) for (const value of values) distinct.add(value);
    return [...distinct];
  }
}

function createNode<T>(): Node<T> {
  return { children: undefined, values: undefined };
}

function isEmpty<T>(node: Node<T>): boolean {
  return node.values === undefined && node.children === undefined;
}

function removeChild<T>(node: Node<T>, level: string): void {
  node.children?.delete(level);
  if (node.children?.size === 0) node.children = undefined;
}

/** Gathers the values of every filter below `node` that matches the levels from `depth` on. */
function collect<T>(
  node: Node<T>,
  levels: readonly string[],
  depth: number,
  found: Set<T>[],
): void {
  const { children, values } = node;
  // Also after the last level: `a/#` matches `a` [MQTT-4.7.1-2].
  const rest = children?.get("#")?.values;
  if (rest !== undefined) found.push(rest);
  if (depth === levels.length) {
    if (values !== undefined) found.push(values);
    return;
  }
  if (children === undefined) return;
  const any = children.get("+");
  if (any !== undefined) collect(any, levels, depth + 1, found);
  const same = children.get(levels[depth]!);
  if (same !== undefined) collect(same, levels, depth + 1, found);
}
