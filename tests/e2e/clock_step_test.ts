import { assert, assertEquals } from "../deps.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { publish } from "../support/daemon.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, FROM_SOURCE, runProgram, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

/** From 2026 to about 2000, in seconds. */
const YEARS_26 = 820_000_000;

Deno.test(
  "a device that boots with the clock of 2000 says so, and loses nothing when NTP sets it",
  FROM_SOURCE,
  async () => {
    await using core = await startAwsIotCore({ behaviour: { connectSpacingMs: 0 } });
    await using dir = await tempDir();
    const files = await writePki(dir.path, core.pki);
    core.register(files.device);
    const [library, wrong] = [`${dir.path}/wrong_clock.so`, `${dir.path}/wrong`];
    const source = new URL("../support/wrong_clock.c", import.meta.url).pathname;
    const gcc = { args: ["-shared", "-fPIC", "-o", library, source] };
    const built = await new Deno.Command("gcc", gcc).output();
    assert(built.success, new TextDecoder().decode(built.stderr));
    await Deno.writeTextFile(wrong, "");
    const env = {
      LD_PRELOAD: library,
      WRONG_CLOCK: wrong,
      WRONG_CLOCK_SECONDS: String(YEARS_26),
    };
    const bus = `${dir.path}/bus`;
    const message = (payload: string) => ({ topic: "t", payload, qos: 1, messageExpiry: 3_600 });
    const args = daemonArgs(core, files, bus, "--spool", `${dir.path}/spool`);
    {
      await using daemon = await startProgram(args, env);
      await daemon.logged("before this program was made");
      assert(/the clock of this device says 2000-/.test(daemon.log()), daemon.log());
      await publish(`${bus}/aws_iot_mqtt`, message("kept over a restart"));
      daemon.signal("SIGTERM");
      assertEquals(await within("the daemon to stop", daemon.exited), 0);
    }
    await using daemon = await startProgram(args, env);
    await daemon.logged("before this program was made");
    await publish(`${bus}/aws_iot_mqtt`, message("before the step"));
    await Deno.remove(wrong);
    assertEquals((await runProgram(["reconnect", "--bus-dir", bus])).code, 0);
    await daemon.logged("Connected", 20_000);
    await publish(`${bus}/aws_iot_mqtt`, message("after the step"));
    await waitFor("all three", () => core.published.length === 3);
    const texts = core.published.map(({ payload }) => new TextDecoder().decode(payload));
    assertEquals(texts, ["kept over a restart", "before the step", "after the step"]);
    daemon.signal("SIGTERM");
    assertEquals(await within("the daemon to stop", daemon.exited), 0);

    // And one that is accepted by the clock of 2000 is there after a start with the right one.
    await core.close();
    await Deno.writeTextFile(wrong, "");
    await Deno.remove(`${dir.path}/spool`, { recursive: true });
    {
      await using unset = await startProgram(args, env);
      await unset.logged("serving the core bus");
      await publish(`${bus}/aws_iot_mqtt`, message("by a clock of 2000"));
      unset.signal("SIGTERM");
      assertEquals(await within("the daemon to stop", unset.exited), 0);
    }
    await core.reopen();
    await using right = await startProgram(args);
    await waitFor("the fourth", () => core.published.length === 4);
    assert(!right.log().includes("expired"), right.log());
  },
);
