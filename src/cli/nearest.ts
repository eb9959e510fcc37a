/** The most letters that may differ for a word to be meant, by the length of what was typed. */
function tolerance({ length }: string): number {
  return length <= 4 ? 1 : 2;
}

/** The word that was probably meant: one that begins so, or that differs by a letter or two; `undefined` when none is near. */
export function nearest(typed: string, words: readonly string[]): string | undefined {
  const begins = words.find((word) => typed.length >= 2 && word.startsWith(typed));
  if (begins !== undefined) return begins;
  let best: string | undefined;
  let least = tolerance(typed) + 1;
  for (const word of words) {
    const letters = distance(typed, word);
    if (letters < least) [best, least] = [word, letters];
  }
  return best;
}

/** `; did you mean X?`, or nothing. */
export function meant(word: string | undefined): string {
  return word === undefined ? "" : `; did you mean ${word}?`;
}

/** How many letters have to be put in, left out, changed or swapped with their neighbour to make `b` of `a`. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) least = Math.min(least, before[j - 2]! + 1);
      row.push(least);
    }
    [before, last] = [last, row];
  }
  return last[b.length]!;
}
