import { utf8 } from "../base/bytes.ts";

/** Topics up to so many bytes of UTF-8 are sent as they are: an alias takes 3 bytes and a table. */
const SHORT_BYTES = 16;

/** A topic as PUBLISH says it. */
export interface AliasedTopic {
  /** Empty when the alias alone stands for it [MQTT5-3.3.2.3.4]. */
  readonly topic: string;
  readonly alias: number | undefined;
}

/** The aliases of topics on one link, outward: the latest topics have one. Pure. */
export class TopicAliases {
  /** By last use, the oldest first. */
  readonly #aliases = new Map<string, number>();
  readonly #max: number;

  /** @param max How many the broker takes (topic alias maximum of CONNACK); 0: none. */
  constructor(max: number) {
    this.#max = max;
  }

  /** What to send for a topic; every answer has to be sent, in order. */
  use(topic: string): AliasedTopic {
    if (this.#max === 0 || isShort(topic)) return { topic, alias: undefined };
    const known = this.#aliases.get(topic);
    const alias = known ?? this.#free();
    this.#aliases.delete(topic);
    this.#aliases.set(topic, alias);
    return { topic: known === undefined ? topic : "", alias };
  }

  /** An alias that no topic has yet, or that of the topic whose last use is longest ago. */
  #free(): number {
    if (this.#aliases.size < this.#max) return this.#aliases.size + 1;
    const { value } = this.#aliases.entries().next();
    const [oldest, alias] = value!;
    this.#aliases.delete(oldest);
    return alias;
  }
}

function isShort(topic: string): boolean {
  return topic.length <= SHORT_BYTES && utf8(topic).length <= SHORT_BYTES;
}
