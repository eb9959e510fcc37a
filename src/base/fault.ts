/** The steps of a message on its way out, each of which can be passed before and after. */
const STEPS = ["append", "commit", "answer", "send", "PUBACK", "remove"] as const;

/** A place where the daemon may die without losing what it accepted. */
export type FaultPoint = `${"before" | "after"} ${typeof STEPS[number]}`;

/** Every {@linkcode FaultPoint}, in the order in which a message passes them. */
export const FAULT_POINTS: readonly FaultPoint[] = STEPS.flatMap((step): FaultPoint[] => [
  `before ${step}`,
  `after ${step}`,
]);

/** Called as a point is passed, so that a test can end the process there; the program itself runs without one. */
export type FaultHook = (point: FaultPoint) => void;
