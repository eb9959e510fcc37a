import type { Bytes } from "../base/bytes.ts";
import { carve, type PageSource } from "./carve.ts";
import type { Database } from "./database.ts";
import { SCHEMA_VERSION } from "./header.ts";
import { type Meta, sizeOfBlob, sizeOfRecord, type StoredRecord } from "./record.ts";

/** What is known of a damaged spool beside its files: nothing at the start of the program. */
export interface Known {
  readonly floor: number;
  readonly nextSeq: number;
  /** How many messages there were. */
  readonly messages?: number;
  /** Whether a message above the floor was removed. */
  readonly isGone?: (seq: number) => boolean;
}

/** How a salvage went. */
export interface Salvaged {
  readonly saved: number;
  /** As far as it is known. */
  readonly lost: number | undefined;
}

/**
 * Fills a new spool with every message that can be found in a damaged one, with its `seq`. A message that had been removed
 * shortly before may be among them; one with a wrong bit is not.
 */
export function salvage(source: PageSource, target: Database, known: Known): Salvaged {
  const survey = surveyOf(source);
  const spoolId = survey?.spoolId ?? newSpoolId();
  const floor = Math.max(known.floor, survey?.floor ?? 0);
  let lastSeq = survey?.meta?.lastSeq ?? 0;
  let nextSeq = Math.max(known.nextSeq, survey?.meta?.nextSeq ?? 0);
  const insert = target.prepare(
    "INSERT OR IGNORE INTO message (seq, qos, record) VALUES (?, ?, ?)",
  );
  const keep = target.prepare(
    "INSERT OR IGNORE INTO quarantine (seq, qos, record) VALUES (?, ?, ?)",
  );
  return target.transaction(() => {
    carve(source, {
      meta: () => {},
      record: (record, blob) => {
        if (record.spoolId !== spoolId || known.isGone?.(record.seq)) return;
        lastSeq = Math.max(lastSeq, record.seq);
        nextSeq = Math.max(nextSeq, record.seq + 1);
        if (record.quarantined) keep.run(record.seq, record.qos, blob);
        else if (record.seq >= floor) insert.run(record.seq, record.qos, blob);
      },
    });
    target.exec("DELETE FROM message WHERE seq IN (SELECT seq FROM quarantine)");
    const counted = count(target);
    const commits = (survey?.meta?.commits ?? 0) + 1;
    target.setMeta({
      schema: SCHEMA_VERSION,
      spoolId,
      nextSeq,
      lastSeq,
      floor,
      commits,
      ...counted,
    });
    const before = known.messages ?? survey?.meta?.messages;
    return {
      saved: counted.messages,
      lost: before === undefined ? undefined : Math.max(0, before - counted.messages),
    };
  });
}

/** A record with its blob. */
export type Carved = readonly [StoredRecord, Bytes];

/** What the frames from `firstFrame` on hold, in order: more than is new, and perhaps of another spool. */
export function carveTail(source: PageSource, firstFrame: number): Carved[] {
  const found = new Map<number, Carved>();
  carve(source, {
    meta: () => {},
    record: (record, blob) => void found.set(record.seq, [record, blob.slice()]),
  }, firstFrame);
  return [...found.values()].sort(([a], [b]) => a.seq - b.seq);
}

/** The id of a new spool: nobody who only publishes can know it, and so forge a record in a payload. */
export function newSpoolId(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

interface Survey {
  readonly spoolId: number;
  found: number;
  floor: number;
  /** The latest counters. */
  meta: Meta | undefined;
}

/** Which spool the pages belong to, by what most of them say. */
function surveyOf(source: PageSource): Survey | undefined {
  const surveys = new Map<number, Survey>();
  const at = (spoolId: number): Survey => {
    const known = surveys.get(spoolId);
    if (known !== undefined) return known;
    const survey = { spoolId, found: 0, floor: 0, meta: undefined };
    surveys.set(spoolId, survey);
    return survey;
  };
  carve(source, {
    record: ({ spoolId, floor }) => {
      const survey = at(spoolId);
      survey.found++;
      survey.floor = Math.max(survey.floor, floor);
    },
    meta: (meta) => {
      const survey = at(meta.spoolId);
      survey.found++;
      survey.floor = Math.max(survey.floor, meta.floor);
      if (meta.commits > (survey.meta?.commits ?? -1)) survey.meta = meta;
    },
  });
  return [...surveys.values()].sort((a, b) => b.found - a.found)[0];
}

function count(target: Database): Pick<Meta, "messages" | "bytes" | "qos0Bytes"> {
  let messages = 0;
  let bytes = 0;
  let qos0Bytes = 0;
  const rows = target.prepare(
    "SELECT qos, count(*) AS n, sum(length(record)) AS length FROM message GROUP BY qos",
  ).all();
  for (const { qos, n, length } of rows) {
    const size = Number(n) * sizeOfBlob(0) + Number(length);
    messages += Number(n);
    bytes += size;
    if (qos === 0) qos0Bytes += size;
  }
  for (const record of target.quarantine()) {
    messages++;
    bytes += sizeOfRecord(record);
  }
  return { messages, bytes, qos0Bytes };
}
