import { type Bytes, utf8 } from "../base/bytes.ts";
import { bitCount, PAGE_BYTES } from "./wal.ts";

/** `PRAGMA application_id` of a spool: "iotc". */
export const APPLICATION_ID = 0x696f7463;

/**
 * `PRAGMA user_version` of the spools that this program writes. Numbers that differ from it in a single bit (3, 5, 9, 17
 * ...) are not used by later ones: there a bit was flipped.
 */
export const SCHEMA_VERSION = 1;

/** Length of the header of a database (SQLite file format, 1.3). */
export const HEADER_BYTES = 100;

/** What the header of a database says about it. */
export type HeaderVerdict =
  | { readonly is: "sound" }
  | { readonly is: "newer"; readonly version: number }
  | { readonly is: "damaged"; readonly why: string };

const MAGIC = utf8("SQLite format 3\0");

/** What is the same in every spool: offset and 32-bit value. */
const CONSTANTS: readonly (readonly [number, number])[] = [
  [16, PAGE_BYTES * 0x10000 + 0x0202], // page size, versions: write-ahead log
  [20, 0x00402020], // nothing reserved, fractions
  [44, 4], // schema format
  [48, 0], // cache size
  [52, 0], // no auto-vacuum
  [56, 1], // UTF-8
  [64, 0], // no incremental vacuum
  [72, 0],
  [76, 0],
  [80, 0],
  [84, 0],
  [88, 0],
];

/**
 * Judges a spool by its header, which SQLite itself would half believe: it takes any page size or version for granted.
 *
 * @param fileBytes Length of the file.
 * @param hasLog Whether a write-ahead log has frames, so that the length may differ from what the header says.
 */
export function inspectHeader(header: Bytes, fileBytes: number, hasLog: boolean): HeaderVerdict {
  if (header.length < HEADER_BYTES) return damaged(`the file has ${fileBytes} bytes`);
  if (MAGIC.some((byte, index) => header[index] !== byte)) return damaged("not a database");
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  if (view.getUint32(68) !== APPLICATION_ID) return damaged("not a spool");
  const version = judgeVersion(view.getUint32(60));
  if (version.is !== "sound") return version;
  for (const [offset, value] of CONSTANTS) {
    if (view.getUint32(offset) !== value) return damaged(`header wrong at byte ${offset}`);
  }
  const pages = fileBytes / PAGE_BYTES;
  if (!hasLog && view.getUint32(28) !== pages) {
    return damaged(`${view.getUint32(28)} pages expected, ${pages} found`);
  }
  if (!hasLog && view.getUint32(32) > pages) return damaged("header wrong at byte 32");
  return { is: "sound" };
}

/** Judges `PRAGMA user_version`. */
export function judgeVersion(version: number): HeaderVerdict {
  if (version === SCHEMA_VERSION) return { is: "sound" };
  if (version < SCHEMA_VERSION || bitCount(version ^ SCHEMA_VERSION) === 1) {
    return damaged(`schema version ${version}`);
  }
  return { is: "newer", version };
}

function damaged(why: string): HeaderVerdict {
  return { is: "damaged", why };
}
