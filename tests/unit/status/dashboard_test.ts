import { bars, dashboard, DRAWN_SECONDS, Minute } from "../../../src/status/dashboard.ts";
import type { Status } from "../../../src/status/types.ts";
import { assert, assertEquals, assertStringIncludes, pureTest } from "../../deps.ts";
import { SAMPLE_STATUS } from "../../support/sample_status.ts";

const NOW = 1_767_229_200_000;

pureTest("bars are as high as their figures, and what is more than nothing is seen", () => {
  assertEquals(bars([0, 1, 50, 100], "unicode"), " ▁▄█");
  assertEquals(bars([0, 1, 50, 100], "ascii"), " .=@");
  assertEquals(bars([0, 0], "unicode"), "  ");
  assertEquals(bars([], "unicode"), "");
});

function at(second: number): Status {
  const { publishes, spool } = SAMPLE_STATUS;
  return {
    ...SAMPLE_STATUS,
    spool: { ...spool, messages: 2_000 - 20 * second },
    publishes: { ...publishes, sent: 100 * second },
    received: 5 * second,
  };
}

pureTest(
  "a minute keeps sixty seconds, counts from one to the next, and starts anew with the daemon",
  () => {
    const minute = new Minute();
    for (let second = 0; second < 100; second++) minute.add(at(second));
    assertEquals(minute.of("sent"), new Array(DRAWN_SECONDS).fill(100));
    assertEquals(minute.of("depth")[0], 2_000 - 20 * 40);
    minute.add(at(1));
    assertEquals(minute.of("sent").at(-1), 0);
  },
);

pureTest(
  "the page fits 80 columns and 24 rows, with its note, however much there is to say",
  () => {
    const minute = new Minute();
    for (let second = 0; second < 70; second++) minute.add(at(second));
    const connection = SAMPLE_STATUS.connections[1]!;
    const status = {
      ...at(70),
      connections: new Array(10).fill(connection),
      certificate_expires: NOW + 86_400_000,
      config_waiting: "why",
    };
    const lines = dashboard(status, minute, {
      socket: "/run/greengrass/s",
      style: "unicode",
      now: NOW,
    });
    assert(lines.length <= 22, `${lines.length} lines`);
    const bar = lines.find((line) => line.startsWith("depth"))!;
    assert([...bar].length <= 79, bar);
    const text = lines.join("\n");
    for (
      const said of ["oldest 1 min 1 s", "throttled", "suspects", "in quarantine 2", "EXPIRES in"]
    ) {
      assertStringIncludes(text, said);
    }
  },
);
