/**
 * Plays one scene in a thread of its own; a storm keeps a core busy for half a minute.
 *
 * @module
 */

import { type Figures, Fleet, type Scene } from "./fleet.ts";

/** What a thread is asked for, and what it answers. */
interface Port {
  onmessage: ((event: MessageEvent<Scene>) => void) | null;
  postMessage(figures: Figures): void;
}

/** Plays a scene in a new thread. */
export async function play(scene: Scene): Promise<Figures> {
  const worker = new Worker(import.meta.url, { type: "module" });
  try {
    return await new Promise<Figures>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<Figures>) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage(scene);
    });
  } finally {
    worker.terminate();
  }
}

// In the main thread nobody posts messages, and this does nothing.
const port = self as unknown as Port;
port.onmessage = ({ data }) => port.postMessage(new Fleet(data).run());
