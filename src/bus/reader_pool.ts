import { FrameReader } from "../wire/frame_reader.ts";
import { MAX_SPARE_READERS } from "./limits.ts";

/** Frame readers for the next clients: most connections carry one call, and a new buffer costs more than reading it. */
export class ReaderPool {
  readonly #spare: FrameReader[] = [];

  /** A reader that holds nothing. */
  take(): FrameReader {
    return this.#spare.pop() ?? new FrameReader();
  }

  /** Gives a reader back that nothing uses any more; one in the middle of a frame, or one too many, is let go. */
  give(reader: FrameReader): void {
    if (reader.pending === 0 && this.#spare.length < MAX_SPARE_READERS) this.#spare.push(reader);
    else reader.release();
  }
}
