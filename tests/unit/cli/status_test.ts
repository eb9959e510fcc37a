import { duration, grouped, size, statusLine, statusPage } from "../../../src/status/page.ts";
import { Screen } from "../../../src/cli/screen.ts";
import { assert, assertEquals, pureTest } from "../../deps.ts";
import { SAMPLE_STATUS } from "../../support/sample_status.ts";

const NOW = 1_767_225_600_000 + 7_260_000;

pureTest("the page shows everything at a glance", () => {
  assertEquals(statusPage(SAMPLE_STATUS, "/run/greengrass/aws_iot_mqtt", NOW), [
    "iotcored 1.2.3, up 26 h 3 min, at /run/greengrass/aws_iot_mqtt",
    "",
    "connection   thing   up 2 h 1 min   3 subscriptions   2 in flight   192.0.2.1:8883",
    "             broker: does not take 31 filters now, packets up to 146.0 KiB, QoS up to 0, " +
    "no retained messages, no wildcards, no shared subscriptions, keep-alive 32 s, session kept for 33 s",
    "connection   thing_1   DOWN   1 subscriptions   0 in flight",
    '             reason: closed: "why"\\u000a\\path\\u001b[2J',
    "spool        disk   1,234 messages   4.8 MiB of 64.0 MiB (7%)   oldest 1 min 1 s",
    "             evicted 11   expired 12   refused 13   failed 14   in quarantine 2",
    "             #9 bad/topic: closed the connection 3 times",
    "             #10 evil\\u001b[2J: too",
    "publishes    accepted 1,234,567   sent 1,234,568   acknowledged 1,234,000   refused by broker 15",
    "             expired 25   QoS 0 waiting 17   throttled for 16 s   now by the account",
    "             window 29   slowed to 1,030 a minute   turned away 26   overdue 27   sent again 28",
    "closes       suspect 1   refused 1   tried 26   messages refused 28   dropped 29",
    "             topic bad/topic refused for 12 min 39 s: the broker closed the connection for it\\u001b[2J",
    "             filter suspect/# suspect",
    "received     19 messages",
    "clients      20 open   21 in all   22 subscribed   closed as slow 23   requests refused 24",
    "             messages larger than a subscriber takes 26",
    "             clients is at 4,000 of 4,096",
    "config       waiting: Cannot reach \\u001b[2J",
  ]);
});

pureTest("what does not slow sending down is not said", () => {
  const publishes = { ...SAMPLE_STATUS.publishes, rate_per_minute: null, throttled_by: null };
  const page = statusPage({ ...SAMPLE_STATUS, publishes }, "/s", NOW).join("\n");
  assert(!/slowed|now by/.test(page), page);
});

pureTest("only the first messages in quarantine are named, and the rest is counted", () => {
  const quarantined = Array.from({ length: 100 }, (_, seq) => ({ seq, topic: "t", reason: "r" }));
  const spool = { ...SAMPLE_STATUS.spool, quarantined, quarantined_messages: 1_000 };
  const page = statusPage({ ...SAMPLE_STATUS, spool }, "/s", NOW);
  assertEquals(page.filter((line) => line.trim().startsWith("#")).length, 5);
  assert(page.some((line) => line.trim() === "and 995 more"));
});

pureTest("the status as one line has names and numbers for a log", () => {
  assertEquals(
    statusLine(SAMPLE_STATUS, 0),
    "1970-01-01T00:00:00.000Z connected=1/2 spool_messages=1234 spool_bytes=5000000 " +
      "accepted=1234567 sent=1234568 acknowledged=1234000 refused_by_broker=15 " +
      "throttled_ms=16500 turned_away=26 overdue=27 resent=28 received=19 clients=20 quarantined=2 suspects=1 refused_subjects=1",
  );
});

pureTest("numbers are short and readable", () => {
  assertEquals([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
  assertEquals([0, 1_023, 1_024, 2_621_440, 2 ** 41].map(size), [
    "0 B",
    "1023 B",
    "1.0 KiB",
    "2.5 MiB",
    "2.0 TiB",
  ]);
  assertEquals([-5, 0, 1_550, 59_999, 60_000, 3_600_000, 172_800_000].map(duration), [
    "0.0 s",
    "0.0 s",
    "1.6 s",
    "59 s",
    "1 min 0 s",
    "1 h 0 min",
    "2 d 0 h",
  ]);
});

pureTest(
  "the screen writes each page in place in one go, cut to the terminal, and gives the terminal back",
  () => {
    const writes: string[] = [];
    {
      using screen = new Screen({
        writeSync: (bytes) => {
          writes.push(new TextDecoder().decode(bytes));
          return bytes.length;
        },
        size: () => ({ columns: 5, rows: 2 }),
      });
      screen.show(["abcdefgh", "b", "c"]);
    }
    assertEquals(writes, [
      "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J",
      "\x1b[Habcd\x1b[K\r\nb\x1b[K\x1b[J",
      "\x1b[?25h\x1b[?1049l",
    ]);
  },
);
