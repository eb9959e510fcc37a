/** The middle of some numbers; of two in the middle, their mean. */
export function median(numbers: readonly number[]): number {
  if (numbers.length === 0) throw new Error("Cannot take a median: there must be a number");
  const sorted = numbers.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** The value below which a part of ascending numbers lies. */
export function percentile(ascending: ArrayLike<number>, part: number): number {
  const value = ascending[Math.min(ascending.length - 1, Math.floor(part * ascending.length))];
  if (value === undefined) throw new Error("Cannot take a percentile: there must be a number");
  return value;
}

/**
 * Runs every side once per round, in turn, so that all of them see the same machine. With `warm`, a first round is not
 * counted.
 */
export async function rounds<K extends string, T>(
  options: { readonly runs: number; readonly warm: boolean },
  sides: Readonly<Record<K, () => Promise<T> | T>>,
): Promise<Record<K, T[]>> {
  const names = Object.keys(sides) as K[];
  const results = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<K, T[]>;
  for (let round = options.warm ? -1 : 0; round < options.runs; round++) {
    for (const name of names) {
      const result = await sides[name]();
      if (round >= 0) results[name].push(result);
    }
  }
  return results;
}
