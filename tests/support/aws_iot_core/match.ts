/** Of a filter, what routing needs. */
export interface ParsedFilter {
  readonly levels: readonly string[];
  /** The group of a shared subscription. */
  readonly group: string | undefined;
}

/** Takes a filter apart. */
export function parseFilter(filter: string): ParsedFilter {
  const shared = /^\$share\/([^/]+)\/(.*)$/s.exec(filter);
  return { levels: (shared?.[2] ?? filter).split("/"), group: shared?.[1] };
}

/**
 * Whether a filter matches a topic, both split at the slashes. Written apart from the product's matchers: what stands in for
 * the other side must not share their mistakes.
 */
export function levelsMatch(
  filter: readonly string[],
  topic: readonly string[],
  hashMatchesParent: boolean,
): boolean {
  if (topic[0]!.startsWith("$") && (filter[0] === "+" || filter[0] === "#")) return false;
  for (let i = 0; i < filter.length; i++) {
    if (filter[i] === "#") return i < topic.length || hashMatchesParent;
    if (i >= topic.length) return false;
    if (filter[i] !== "+" && filter[i] !== topic[i]) return false;
  }
  return filter.length === topic.length;
}
