/** What a compiled program was told, as Deno embeds it; `null` refuses, an empty list allows everything. */
export interface Metadata {
  readonly argv: readonly string[];
  readonly code_cache_key: number | null;
  readonly permissions: Readonly<Record<string, readonly string[] | boolean | null>>;
  readonly entrypoint_key: string;
  readonly v8_flags: readonly string[];
  readonly node_modules: unknown;
  readonly unstable_config: { readonly features: readonly string[] };
}

/** What a compiled program holds beside Deno's runtime. */
export interface Payload {
  readonly metadata: Metadata;
  /** Embedded files by path. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Everything that was added to the base, in bytes. */
  readonly bytes: number;
}

/** The note in which the payload is: its name is `SUI`, and so is its type, with a version. */
const NOTE_TYPE = 0x5355_4901;
const PT_NOTE = 4;
const MAGIC = "d3n0l4nd";

/** An entry of the embedded folder; the offset counts from the first file's first byte. */
interface Entry {
  readonly File?: { readonly n: string; readonly o: readonly [offset: number, length: number] };
}

/**
 * Reads the payload of a program that `deno compile` of Deno 2.9 made for Linux.
 *
 * @throws {TypeError} when it is none
 */
export function readPayload(binary: Uint8Array): Payload {
  const note = findNote(binary);
  const reader = new Reader(note);
  reader.skip(reader.u16());
  if (reader.text(MAGIC.length) !== MAGIC) throw new TypeError("Cannot read: magic is missing");
  const metadata: Metadata = JSON.parse(reader.text(reader.u64()));
  const npmPackages = reader.u64();
  if (npmPackages > 0) throw new TypeError("Cannot read: npm packages are embedded as such");
  // Remote modules, redirects: none, as the program is one bundle.
  const tree = reader.find("[{");
  reader.seek(tree - 8);
  const entries: Entry[] = JSON.parse(reader.text(reader.u64()));
  const length = reader.u64();
  const data = reader.bytes(length);
  const files = entries.map((entry) => {
    if (entry.File === undefined) throw new TypeError("Cannot read: a folder is embedded");
    const { n: name, o: [offset, size] } = entry.File;
    return [name, data.subarray(offset, offset + size)] as const;
  });
  return { metadata, files: new Map(files), bytes: note.length };
}

/** Walks the program headers of an ELF file. */
function findNote(binary: Uint8Array): Uint8Array {
  const view = new DataView(binary.buffer, binary.byteOffset, binary.length);
  const table = Number(view.getBigUint64(32, true));
  const size = view.getUint16(54, true);
  for (let i = 0; i < view.getUint16(56, true); i++) {
    const header = table + i * size;
    if (view.getUint32(header, true) !== PT_NOTE) continue;
    const at = Number(view.getBigUint64(header + 8, true));
    if (view.getUint32(at + 8, true) !== NOTE_TYPE) continue;
    const start = at + 12 + view.getUint32(at, true);
    return binary.subarray(start, start + view.getUint32(at + 4, true));
  }
  throw new TypeError("Cannot read: the file was not made by deno compile for Linux");
}

class Reader {
  readonly #view: DataView;
  #at = 0;

  constructor(private readonly data: Uint8Array) {
    this.#view = new DataView(data.buffer, data.byteOffset, data.length);
  }

  u16(): number {
    return this.#view.getUint16(this.#skipped(2), true);
  }

  u64(): number {
    return Number(this.#view.getBigUint64(this.#skipped(8), true));
  }

  text(length: number): string {
    return new TextDecoder().decode(this.bytes(length));
  }

  bytes(length: number): Uint8Array {
    const start = this.#skipped(length);
    return this.data.subarray(start, start + length);
  }

  skip(length: number): void {
    this.#skipped(length);
  }

  seek(to: number): void {
    this.#at = to;
  }

  /** Where a text of ASCII stands next. */
  find(text: string): number {
    const wanted = new TextEncoder().encode(text);
    for (let at = this.#at; at + wanted.length <= this.data.length; at++) {
      if (wanted.every((byte, i) => this.data[at + i] === byte)) return at;
    }
    throw new TypeError(`Cannot read: ${text} is missing`);
  }

  #skipped(length: number): number {
    const start = this.#at;
    this.#at += length;
    if (this.#at > this.data.length) throw new TypeError("Cannot read: the payload is cut off");
    return start;
  }
}
