import type { Subject, Suspicion } from "./unproven.ts";

/** How long a topic or filter is refused that the broker closed the connection for, in ms. */
export const REFUSAL_MS = 600_000;

/** Closes as the only packet in flight after which a subject is condemned. */
export const SOLE_CLOSES = 2;

/** The same for a subject that the broker took before: a network that fails is then the likelier cause. */
export const SOLE_CLOSES_OF_PROVEN = 3;

/** The same when the broker gave a reason for the first close, and none for those since: that is how a network fails. */
export const SOLE_CLOSES_UNLIKE = 4;

/** The most closes that are waited for, however often the network fails. */
export const MOST_SOLE_CLOSES = 6;

/** How far back closes that nothing explains make the network the likelier cause, in ms. */
export const UNEXPLAINED_MS = 60_000;

/** How long a subject is not tried again when its trial had no answer at all, in ms. */
export const POSTPONE_MS = 60_000;

/** Proven subjects that are remembered at most, and as many suspect and condemned ones; of more, the oldest are forgotten. */
export const MAX_SUBJECTS = 1_024;

/** A close that was not stated to have another cause. */
interface Close {
  /** Milliseconds of the clock. */
  readonly at: number;
  /** The reason code that came with it; `undefined` when none did. */
  readonly code: number | undefined;
  /** Whether a packet is the cause: one that was alone in flight and not proven since, or one that is condemned. */
  explained: boolean;
}

/** Under suspicion: its packets go one at a time, each alone in flight. */
export interface Suspect {
  readonly type: "suspect";
  readonly since: number;
  /** Whether the broker took packets of it before. */
  readonly provenBefore: boolean;
  /** Closes as one of many in flight. */
  readonly closes: readonly Close[];
  /** Closes as the only packet in flight. */
  readonly soleCloses: readonly Close[];
  /** The QoS 1 message that was alone in flight at the last close: it goes again before any other of its topic. */
  readonly lastSole?: number;
  /** Not tried before this, in ms of the clock. */
  readonly notBefore: number;
}

/** Was sent alone in its packet once without an answer within the deadline; it is sent a second time. */
interface Silent {
  readonly type: "silent";
  readonly since: number;
}

/** Refused until its time is over, in ms of the clock; tried again by one packet then. */
export interface Condemned {
  readonly type: "condemned";
  readonly since: number;
  readonly until: number;
  /** One line, for clients, log and status. */
  readonly reason: string;
}

/** How a subject stands that something is held against. */
export type Case = Suspect | Silent | Condemned;

/** `excused`: was proven, then in flight at a close; it is suspect at the next one, unless it is proven in between. */
type Known = "proven" | "excused";

/** What the detector has found out about topics and filters. Pure: time comes as an argument. */
export class Standings {
  readonly #known = { topic: new Map<string, Known>(), filter: new Map<string, Known>() };
  readonly #cases = { topic: new Map<string, Case>(), filter: new Map<string, Case>() };
  #closes: Close[] = [];

  /** Whether nothing is held against anybody. */
  get isEmpty(): boolean {
    return this.#cases.topic.size + this.#cases.filter.size === 0;
  }

  /** How a subject stands; `undefined`: nothing is held against it. A refusal that is over makes a suspect of it. */
  caseOf({ kind, name }: Subject, now: number): Case | undefined {
    const cases = this.#cases[kind];
    // The usual case, on the way of each message.
    if (cases.size === 0) return undefined;
    const found = cases.get(name);
    if (found?.type !== "condemned" || found.until > now) return found;
    const suspect = suspectOf(now, false, []);
    cases.set(name, suspect);
    return suspect;
  }

  /** Suspects and condemned subjects. */
  *all(
    now: number,
  ): Generator<{ readonly subject: Subject; readonly standing: Suspect | Condemned }> {
    for (const kind of ["topic", "filter"] as const) {
      for (const name of [...this.#cases[kind].keys()]) {
        const standing = this.caseOf({ kind, name }, now);
        if (standing !== undefined && standing.type !== "silent") {
          yield { subject: { kind, name }, standing };
        }
      }
    }
  }

  /** The broker took a packet of this subject and the link stood; whether that ends a suspicion. */
  proven({ kind, name }: Subject, seq: number | undefined): boolean {
    const known = this.#known[kind];
    if (known.get(name) !== "proven") {
      known.delete(name);
      put(known, name, "proven");
    }
    const cases = this.#cases[kind];
    if (cases.size === 0) return false;
    const found = cases.get(name);
    if (found === undefined || found.type === "condemned") return false;
    // Another packet of the topic does not clear the message that the link was closed for.
    if (found.type === "suspect" && (found.lastSole ?? seq) !== seq) return false;
    if (found.type === "suspect") found.soleCloses.forEach((close) => close.explained = false);
    cases.delete(name);
    return true;
  }

  /**
   * The link was closed with many packets in flight: makes suspects of them; returns how many are new ones. Those that the broker took
   * before are excused once: more often than not it is somebody else, or the network.
   */
  suspect(suspicions: readonly Suspicion[], code: number | undefined, now: number): number {
    const close = this.#closed(code, now);
    let added = 0;
    for (const subject of distinct(suspicions)) {
      const known = this.#known[subject.kind];
      if (known.get(subject.name) === "proven") known.set(subject.name, "excused");
      else if (this.#accuse(subject, close, now)) added++;
    }
    return added;
  }

  /** The link was closed for a packet that was alone in flight; whether its subject is condemned for it. */
  soleInFlight({ subject, seq }: Suspicion, code: number | undefined, now: number): boolean {
    const close = this.#closed(code, now);
    close.explained = true;
    const { kind, name } = subject;
    const found = this.#cases[kind].get(name);
    const suspect = found?.type === "suspect"
      ? found
      : suspectOf(now, this.#wasProven(subject), []);
    const soleCloses = [...suspect.soleCloses, close];
    const lastSole = seq === undefined ? {} : { lastSole: seq };
    put(this.#cases[kind], name, { ...suspect, ...lastSole, soleCloses });
    return soleCloses.length >= this.#needed({ ...suspect, soleCloses }, now);
  }

  /** Refuses a subject from now on. */
  condemn({ kind, name }: Subject, reason: string, now: number): Condemned {
    const found = this.#cases[kind].get(name);
    if (found?.type === "suspect") found.closes.forEach((close) => close.explained = true);
    const condemned: Condemned = {
      type: "condemned",
      since: now,
      until: now + REFUSAL_MS,
      reason,
    };
    this.#known[kind].delete(name);
    put(this.#cases[kind], name, condemned);
    return condemned;
  }

  /** A filter that was alone in its packet had no answer within the deadline; whether it is the second time. */
  silent({ kind, name }: Subject, alone: boolean, now: number): boolean {
    const found = this.#cases[kind].get(name);
    if (found === undefined) put(this.#cases[kind], name, { type: "silent", since: now });
    return alone && found?.type === "silent";
  }

  /** A trial had no answer at all. */
  postpone({ kind, name }: Subject, now: number): void {
    const found = this.#cases[kind].get(name);
    if (found?.type !== "suspect") return;
    this.#cases[kind].set(name, { ...found, notBefore: now + POSTPONE_MS });
  }

  /** A message will not be sent any more: the next one of its topic may be tried. */
  forget(topic: string, seq: number): void {
    const found = this.#cases.topic.get(topic);
    if (found?.type !== "suspect" || found.lastSole !== seq) return;
    const { lastSole: _, ...rest } = found;
    this.#cases.topic.set(topic, { ...rest, soleCloses: [] });
  }

  /** A subject is to go through a trial, whatever it was. */
  retry({ kind, name }: Subject, now: number): void {
    put(this.#cases[kind], name, suspectOf(now, false, []));
  }

  /** Policies or credentials may have changed: what is condemned is tried again. */
  retryRefused(now: number): void {
    for (const cases of Object.values(this.#cases)) {
      for (const [name, found] of cases) {
        if (found.type === "condemned") cases.set(name, suspectOf(now, false, []));
      }
    }
  }

  /** More closes are asked for while closes happen that no packet explains: then the network is the likelier cause. */
  #needed({ provenBefore, closes, soleCloses }: Suspect, now: number): number {
    const unexplained =
      this.#closes.filter(({ explained, at }) => !explained && at > now - UNEXPLAINED_MS).length;
    const isUnlike = closes.some(hasCode) && !soleCloses.some(hasCode);
    const least = provenBefore ? SOLE_CLOSES_OF_PROVEN : SOLE_CLOSES;
    return Math.min(
      MOST_SOLE_CLOSES,
      Math.max(least, isUnlike ? SOLE_CLOSES_UNLIKE : 0, 1 + unexplained),
    );
  }

  #wasProven({ kind, name }: Subject): boolean {
    return this.#known[kind].has(name);
  }

  #closed(code: number | undefined, now: number): Close {
    const close: Close = { at: now, code, explained: false };
    this.#closes = this.#closes.filter(({ at }) => at > now - UNEXPLAINED_MS);
    this.#closes.push(close);
    return close;
  }

  /** Whether the subject was no suspect before. */
  #accuse(subject: Subject, close: Close, now: number): boolean {
    const cases = this.#cases[subject.kind];
    const found = cases.get(subject.name);
    if (found?.type === "suspect") {
      cases.set(subject.name, { ...found, closes: [...found.closes, close] });
      return false;
    }
    // Written before it was condemned: nothing new.
    if (found?.type === "condemned") {
      close.explained = true;
      return false;
    }
    put(cases, subject.name, suspectOf(now, this.#wasProven(subject), [close]));
    this.#known[subject.kind].delete(subject.name);
    return true;
  }
}

function hasCode({ code }: Close): boolean {
  return code !== undefined;
}

function suspectOf(since: number, provenBefore: boolean, closes: readonly Close[]): Suspect {
  return { type: "suspect", since, provenBefore, closes, soleCloses: [], notBefore: since };
}

/** Each topic and filter once. */
function distinct(suspicions: readonly Suspicion[]): Iterable<Subject> {
  return new Map(suspicions.map(({ subject }) => [`${subject.kind} ${subject.name}`, subject]))
    .values();
}

/** Sets an entry, and forgets the oldest one above the bound. */
function put<V>(map: Map<string, V>, name: string, value: V): void {
  map.set(name, value);
  if (map.size <= MAX_SUBJECTS) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
