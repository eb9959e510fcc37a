import type { AwsIotCore } from "../support/aws_iot_core.ts";
import type { Program } from "../support/program.ts";
import { pause } from "./load.ts";

/** Something that goes wrong for a while, and is right again when this resolves. */
export type Fault = (core: AwsIotCore, program: Program) => Promise<void>;

/** What happens to the broker, the network and the process, by name. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  drop: (core) => core.dropLinks(),
  freeze: async (core) => {
    core.freezeLinks();
    await pause(3_000);
    core.thawLinks();
  },
  "half-open": async (core, program) => {
    core.freezeLinks();
    await pause(2_000);
    program.signal("SIGHUP");
  },
  "broker restart": async (core, program) => {
    await core.close();
    await pause(3_000);
    await core.reopen();
    // As an operator would, who does not want to wait for the backoff.
    program.signal("SIGHUP");
  },
  "taken over": async (core) => {
    core.disconnect("thing", 0x8e);
    await pause(0);
  },
  "no acknowledgements": async (core) => {
    core.behaviour.ackPublish = "never";
    await pause(2_000);
    core.behaviour.ackPublish = "auto";
    core.releaseAcks();
  },
  "slow acknowledgements": async (core) => {
    core.behaviour.ackPublish = 100;
    await pause(3_000);
    core.behaviour.ackPublish = "auto";
  },
  "quota exceeded": async (core) => {
    core.behaviour.refusePublish = () => 0x97;
    await pause(500);
    core.behaviour.refusePublish = () => undefined;
  },
  "process stopped": async (_core, program) => {
    program.signal("SIGSTOP");
    await pause(1_000);
    program.signal("SIGCONT");
  },
};
