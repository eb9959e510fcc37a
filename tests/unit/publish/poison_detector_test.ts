import { assert, assertEquals } from "../../deps.ts";
import {
  type Admission,
  type CloseFinding,
  FENCE_SPACING_MS,
  HEAD_START_MS,
  PoisonDetector,
  SLICE_MS,
  TRIAL_MS,
  TURN_MS,
} from "../../../src/publish/poison_detector.ts";
import { PROOF_MS } from "../../../src/publish/unproven.ts";
import { POSTPONE_MS, REFUSAL_MS } from "../../../src/publish/standings.ts";

const pure = { permissions: "none" } as const;

/** A detector with a clock, and links that come and go. */
class Scene {
  readonly detector = new PoisonDetector();
  now = 0;

  constructor() {
    this.detector.up(0);
  }

  ask(topic: string, seq?: number): Admission {
    return this.detector.ask({ kind: "topic", name: topic }, seq, this.now);
  }

  askFilter(name: string): Admission {
    return this.detector.ask({ kind: "filter", name }, undefined, this.now);
  }

  qos1(topic: string, seq: number, bytes = 10): number {
    return this.detector.wroteQos1(topic, seq, bytes, this.now);
  }

  qos0(topic: string, bytes = 10): void {
    this.detector.wroteQos0(topic, bytes, this.now);
  }

  filters(...names: string[]): number {
    return this.detector.wroteFilters(names, this.now);
  }

  fence(): number {
    return this.detector.wroteFence(this.now);
  }

  answer(order: number): void {
    this.detector.answered(order, this.now);
  }

  later(ms: number): void {
    this.now += ms;
    this.detector.tick(this.now);
  }

  /** The broker closes, a second later the next link is up, and a trial may begin. */
  close(code?: number): CloseFinding {
    const end = { by: "peer", reason: "closed", ...code === undefined ? {} : { code } } as const;
    const finding = this.detector.closed(end, this.now);
    this.now += 1_000;
    this.detector.up(this.now);
    this.now += HEAD_START_MS;
    return finding;
  }

  /** Whether a topic or filter waits for its trial. */
  isSuspect(name: string): boolean {
    return [...this.detector.standings(this.now)].some(({ subject, standing }) =>
      subject.name === name && standing.type === "suspect"
    );
  }

  isCondemned(name: string): boolean {
    return ["topic", "filter"].some((kind) =>
      this.detector.refusal({ kind: kind as "topic" | "filter", name }, this.now) !== undefined
    );
  }
}

Deno.test("what was in flight at a close is suspect, what was answered before is not", pure, () => {
  const scene = new Scene();
  const good = scene.qos1("good", 1);
  scene.qos1("unanswered", 2);
  scene.answer(good);
  assertEquals(scene.close().suspected, 1);
  assertEquals([scene.ask("good", 3), scene.ask("other", 4)], ["send", "send"]);
  assertEquals(scene.ask("unanswered", 2), "alone");
});

Deno.test(
  "two closes while alone in flight condemn, and the topic is refused for ten minutes",
  pure,
  () => {
    const scene = new Scene();
    scene.qos1("bad", 1);
    scene.close();
    for (const condemns of [false, true]) {
      assertEquals(scene.ask("bad", 1), "alone");
      scene.qos1("bad", 1);
      assertEquals(scene.ask("good", 2), "wait");
      const { culprit, trial } = scene.close();
      assertEquals([trial, culprit?.subject.name, culprit?.seq], [
        true,
        ...condemns ? ["bad", 1] as const : [undefined, undefined] as const,
      ]);
    }
    const refusal = scene.ask("bad", 5);
    assert(typeof refusal === "object");
    assertEquals(refusal.until, scene.now - HEAD_START_MS - 1_000 + REFUSAL_MS);
    scene.later(REFUSAL_MS);
    assertEquals(scene.ask("bad", 5), "alone");
  },
);

Deno.test("an answer while alone clears", pure, () => {
  const scene = new Scene();
  scene.qos1("good", 1);
  scene.close();
  scene.ask("good", 1);
  scene.answer(scene.qos1("good", 1));
  assertEquals([scene.isSuspect("good"), scene.ask("good", 2)], [false, "send"]);
  assertEquals(scene.detector.phase.type, "open");
});

Deno.test(
  "a topic that the broker took before is excused once",
  pure,
  () => {
    const scene = new Scene();
    scene.answer(scene.qos1("old", 1));
    scene.qos1("old", 2);
    scene.qos1("new", 3);
    scene.close();
    assertEquals([scene.isSuspect("old"), scene.isSuspect("new")], [false, true]);
    scene.qos1("old", 2);
    scene.close();
    assertEquals(scene.isSuspect("old"), true);
  },
);

Deno.test("a topic that the broker took before needs three closes while alone", pure, () => {
  const scene = new Scene();
  scene.answer(scene.qos1("turned", 1));
  for (let crowd = 0; crowd < 2; crowd++) {
    scene.qos1("turned", 2);
    assertEquals(scene.isSuspect("turned"), false);
    scene.close();
  }
  const culprits = [1, 2, 3].map(() => {
    scene.ask("turned", 2);
    scene.qos1("turned", 2);
    return scene.close().culprit?.subject.name;
  });
  assertEquals(culprits, [undefined, undefined, "turned"]);
});

Deno.test(
  "QoS 0 is proven by the answer to anything written a little behind it, and by nothing before that",
  pure,
  () => {
    for (const [ms, suspected] of [[PROOF_MS - 1, 1], [PROOF_MS, 0]] as const) {
      for (const behind of ["qos1", "filters", "fence"] as const) {
        const scene = new Scene();
        const before = scene.qos1("a", 1);
        scene.qos0("zero");
        scene.answer(before);
        scene.now += ms;
        scene.answer(
          behind === "qos1"
            ? scene.qos1("b", 2)
            : behind === "filters"
            ? scene.filters("f")
            : scene.fence(),
        );
        assertEquals(scene.close().suspected, suspected, behind);
      }
    }
  },
);

Deno.test("what was sent on a topic after the answered packet stays unproven", pure, () => {
  const scene = new Scene();
  scene.qos0("zero");
  scene.now += PROOF_MS;
  const fence = scene.fence();
  scene.qos0("zero");
  scene.answer(fence);
  scene.close();
  // It was proven once, and so is excused once.
  assertEquals(scene.isSuspect("zero"), false);
  scene.qos0("zero");
  scene.close();
  assert(scene.isSuspect("zero"));
});

Deno.test(
  "a PINGREQ goes behind QoS 0 that nothing else will answer, one per two seconds",
  pure,
  () => {
    const scene = new Scene();
    assertEquals(scene.detector.fenceAt(0), undefined);
    scene.qos0("zero");
    assertEquals(scene.detector.fenceAt(0), PROOF_MS);
    scene.later(PROOF_MS);
    scene.answer(scene.fence());
    assertEquals(scene.detector.fenceAt(scene.now), undefined);
    scene.later(10);
    scene.qos0("zero");
    assertEquals(scene.detector.fenceAt(scene.now), PROOF_MS + FENCE_SPACING_MS);
    const from = scene.now + PROOF_MS;
    scene.later(PROOF_MS);
    scene.qos1("one", 1);
    // A PUBACK may never come for what the broker discards.
    assertEquals(scene.detector.fenceAt(scene.now), from + FENCE_SPACING_MS);
  },
);

Deno.test(
  "a suspect of QoS 0 has a PINGREQ behind it, whose answer clears it",
  pure,
  () => {
    const scene = new Scene();
    scene.qos0("zero");
    scene.fence();
    scene.close();
    assertEquals(scene.ask("zero"), "alone");
    scene.qos0("zero");
    assertEquals(scene.detector.fenceAt(scene.now), scene.now + PROOF_MS);
    scene.later(PROOF_MS);
    scene.answer(scene.fence());
    assertEquals([scene.detector.phase.type, scene.isSuspect("zero")], ["open", false]);
  },
);

Deno.test(
  "innocents go for a while, then nothing does until all is proven, then the suspect alone",
  pure,
  () => {
    const scene = new Scene();
    scene.qos1("suspect", 1);
    scene.close();
    assertEquals(scene.ask("innocent", 2), "send");
    const innocent = scene.qos1("innocent", 2);
    assertEquals(scene.ask("suspect", 1), "held");
    scene.later(SLICE_MS - 1);
    assertEquals(scene.ask("innocent", 3), "send");
    scene.later(1);
    assertEquals([scene.ask("innocent", 3), scene.ask("suspect", 1)], ["wait", "wait"]);
    scene.answer(innocent);
    assertEquals([scene.ask("innocent", 3), scene.ask("suspect", 1)], ["wait", "alone"]);
  },
);

Deno.test("a turn that nobody takes ends", pure, () => {
  const scene = new Scene();
  scene.qos1("suspect", 1);
  scene.close();
  assertEquals(scene.ask("suspect", 1), "alone");
  assertEquals(scene.ask("innocent", 2), "wait");
  scene.later(TURN_MS);
  assertEquals(scene.ask("innocent", 2), "send");
});

Deno.test(
  "a trial without PUBACK ends after 5 s: cleared when the PINGRESP came, put off when nothing did",
  pure,
  () => {
    for (const answers of [true, false]) {
      const scene = new Scene();
      scene.qos1("slow", 1);
      scene.close();
      scene.ask("slow", 1);
      scene.qos1("slow", 1);
      const fence = scene.fence();
      if (answers) scene.answer(fence);
      scene.later(TRIAL_MS - 1);
      assertEquals(scene.ask("innocent", 2), "wait");
      scene.later(1);
      assertEquals(scene.ask("innocent", 2), "send");
      assertEquals(
        [scene.isSuspect("slow"), scene.ask("slow", 3)],
        answers ? [false, "send"] : [true, "held"],
      );
      scene.later(POSTPONE_MS);
      assertEquals(scene.ask("slow", 3), answers ? "send" : "alone");
    }
  },
);

Deno.test("a packet without an answer holds up trials for 5 s at most", pure, () => {
  const scene = new Scene();
  scene.qos1("suspect", 1);
  scene.close();
  scene.qos1("discarded", 2);
  assertEquals(scene.ask("suspect", 1), "held");
  scene.later(SLICE_MS);
  scene.answer(scene.fence());
  scene.later(TRIAL_MS);
  assertEquals(scene.ask("suspect", 1), "alone");
});

Deno.test(
  "what went out 5 s ago without an answer is not why the link closes",
  pure,
  () => {
    const scene = new Scene();
    scene.qos1("discarded", 1);
    scene.now += TRIAL_MS;
    assertEquals(scene.close().suspected, 0);
  },
);

Deno.test("a cause that is stated accuses nobody, alone in flight or not", pure, () => {
  for (const code of [0x8b, 0x8e, 0x9c, 0x89]) {
    const scene = new Scene();
    scene.qos1("a", 1);
    assertEquals(scene.close(code), { culprit: undefined, suspected: 0, trial: false });
    scene.qos1("a", 1);
    scene.close();
    for (let n = 0; n < 5; n++) {
      scene.ask("a", 1);
      scene.qos1("a", 1);
      assertEquals(scene.close(code).culprit, undefined);
    }
  }
});

Deno.test("a reason narrows whom it accuses", pure, () => {
  const suspectsOf = (code: number): string[] => {
    const scene = new Scene();
    scene.qos1("large", 1, 1_000);
    scene.qos1("small", 2, 10);
    scene.filters("filter");
    scene.qos0("zero", 500);
    scene.close(code);
    return [...scene.detector.standings(scene.now)].map(({ subject }) => subject.name).sort();
  };
  assertEquals(suspectsOf(0x90), ["large", "small", "zero"]);
  assertEquals(suspectsOf(0x93), ["large", "small"]);
  assertEquals(suspectsOf(0x8f), ["filter"]);
  assertEquals(suspectsOf(0x97), ["filter"]);
  assertEquals(suspectsOf(0x95), ["large"]);
  assertEquals(suspectsOf(0x87), ["filter", "large", "small", "zero"]);
});

Deno.test(
  "closes without a reason are asked for twice as often when the first one had a reason",
  pure,
  () => {
    const scene = new Scene();
    scene.qos1("unlucky", 1);
    scene.close(0x87);
    const culprits = [1, 2, 3, 4].map(() => {
      scene.ask("unlucky", 1);
      scene.qos1("unlucky", 1);
      return scene.close().culprit !== undefined;
    });
    assertEquals(culprits, [false, false, false, true]);
  },
);

Deno.test(
  "closes with nothing in flight speak for the network: more of them are asked for",
  pure,
  () => {
    const scene = new Scene();
    for (let n = 0; n < 3; n++) scene.close();
    scene.qos1("unlucky", 1);
    scene.close();
    const culprits = [1, 2, 3, 4, 5].map(() => {
      scene.ask("unlucky", 1);
      scene.qos1("unlucky", 1);
      return scene.close().culprit !== undefined;
    });
    assertEquals(culprits, [false, false, false, false, true]);
  },
);

Deno.test(
  "another message of its topic does not clear one that the link was closed for, and waits for it",
  pure,
  () => {
    const scene = new Scene();
    scene.qos1("topic", 1);
    scene.close();
    scene.ask("topic", 1);
    scene.qos1("topic", 1);
    scene.close();
    assertEquals([scene.ask("topic", 2), scene.ask("topic")], ["held", "held"]);
    assertEquals(scene.ask("topic", 1), "alone");
    scene.detector.forget("topic", 1);
    assertEquals(scene.ask("topic", 2), "alone");
  },
);

Deno.test(
  "a filter without a SUBACK is sent alone once more, then it is condemned; the link stands",
  pure,
  () => {
    const scene = new Scene();
    scene.filters("good", "mute");
    assertEquals(scene.detector.unanswered(["good", "mute"], scene.now), []);
    assertEquals([scene.askFilter("good"), scene.askFilter("mute")], ["alone", "alone"]);
    assertEquals(scene.ask("topic", 1), "send");
    scene.answer(scene.filters("good"));
    assertEquals(scene.askFilter("good"), "send");
    scene.filters("mute");
    const [culprit] = scene.detector.unanswered(["mute"], scene.now);
    assertEquals(culprit?.subject, { kind: "filter", name: "mute" });
    assert(scene.isCondemned("mute"));
  },
);

Deno.test(
  "what is condemned is tried again at once when policies or credentials may have changed",
  pure,
  () => {
    const scene = new Scene();
    scene.qos0("bad");
    scene.close();
    for (let n = 0; n < 2; n++) {
      scene.ask("bad");
      scene.qos0("bad");
      scene.close();
    }
    assert(scene.isCondemned("bad"));
    scene.detector.retryRefused(scene.now);
    assertEquals(scene.ask("bad"), "alone");
    scene.qos0("bad");
    scene.later(PROOF_MS);
    scene.answer(scene.fence());
    assertEquals(scene.ask("bad"), "send");
  },
);
