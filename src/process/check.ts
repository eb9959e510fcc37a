import { systemClock } from "../base/clock.ts";
import { Exit, type Exit as ExitCode, ExitError } from "../base/errors.ts";
import { createLog } from "../base/log.ts";
import { loadConfig } from "../config/load.ts";
import { type Config, nameOf } from "../config/resolve.ts";
import { type CheckOptions, checkWay } from "../daemon/check.ts";
import { CheckFailed, type CheckStep, checkStep, type Report } from "../daemon/check_step.ts";
import { checkPermissions } from "./permitted.ts";
import { configService, readEnvironment, type RunOptions } from "./run.ts";

export type { CheckOptions, CheckStep };

/** How long the config service may take, in ms: who waits for a check is a person. */
const CONFIG_TIMEOUT_MS = 5_000;

/**
 * Checks each step from the configuration to what the broker allows, as the daemon with these options would take them, beside a
 * daemon that runs. Steps are reported as they end.
 *
 * @returns 0; 64 and 78 for the configuration and its files, 69 for the network and the server's TLS, 77 when the broker refuses
 */
export async function runCheck(
  run: RunOptions,
  options: CheckOptions,
  report: Report,
): Promise<ExitCode> {
  try {
    const config = await checkConfig(run, report);
    await checkWay(config, options, report);
    return Exit.OK;
  } catch (error) {
    if (error instanceof CheckFailed) return error.exit;
    throw error;
  }
}

async function checkConfig({ given, ceiling }: RunOptions, report: Report): Promise<Config> {
  let config: Config | undefined;
  await checkStep("configuration", report, async () => {
    const environment = readEnvironment();
    config = await loadConfig({
      given,
      environment,
      ceiling,
      source: configService(given, systemClock),
      clock: systemClock,
      random: Math.random,
      timeoutMs: CONFIG_TIMEOUT_MS,
      log: createLog({
        level: "error",
        format: "text",
        write: () => {},
        wallNow: systemClock.wallNow,
      }),
    });
    const { host, port, id, mqttVersion } = config!;
    return { outcome: "ok", text: `${host}:${port} as ${id}, MQTT ${mqttVersion}` };
  }, explainConfig);
  await checkStep("permissions", report, () => {
    checkPermissions(config!, false);
    return Promise.resolve({
      outcome: "ok",
      text: "this program may do what the configuration needs",
    });
  }, explainConfig);
  return config!;
}

function explainConfig(error: unknown): { exit: ExitCode; advice: string } | undefined {
  if (!(error instanceof ExitError)) return undefined;
  const advice = error.exit === Exit.UNAVAILABLE
    ? `start the Greengrass nucleus, or give ${nameOf("endpoint")} and the others by options`
    : "correct this option, or the config key that is named";
  return { exit: error.exit, advice };
}
