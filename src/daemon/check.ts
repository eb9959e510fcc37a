import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { MAX_CLIENT_ID_BYTES } from "../aws/limits.ts";
import { textLength } from "../base/bytes.ts";
import { sleep, systemClock } from "../base/clock.ts";
import { Exit, messageOf } from "../base/errors.ts";
import type { Config } from "../config/resolve.ts";
import { endpointWarning } from "../config/warnings.ts";
import { ConnectError } from "../mqtt/connect_error.ts";
import type { Credentials } from "../mqtt/credentials.ts";
import { SESSION_EXPIRY_S } from "../mqtt/dial.ts";
import type { ConnackInfo, LinkEnd, MqttLink } from "../mqtt/link.ts";
import { openLink } from "../mqtt/mqttjs_link.ts";
import { ReadGate } from "../mqtt/read_gate.ts";
import { describeCode } from "../mqtt/reason_codes.ts";
import { DEADLINES, nameOf, openStream, type SecureStream } from "../mqtt/tls.ts";
import { adviceOn, type AttemptFacts, exitOf } from "./check_advice.ts";
import { checkFiles } from "./check_files.ts";
import {
  CheckFailed,
  type CheckName,
  type CheckStep,
  checkStep,
  type Report,
} from "./check_step.ts";
import { targetOf } from "./target.ts";

/** How long the broker may take to answer PUBLISH or SUBSCRIBE, in ms. */
const ANSWER_MS = 10_000;

/** What beside the way to the broker is checked. */
export interface CheckOptions {
  /** Uses the thing's own client id: the broker ends the running daemon's connection for it. */
  readonly asThing: boolean;
  /** Publishes an empty QoS 1 message there. */
  readonly topic: string | undefined;
  /** Subscribes to it. */
  readonly filter: string | undefined;
  /** Ends before the network is used. */
  readonly offline: boolean;
}

/**
 * Goes the daemon's way to the broker once, beside it: the files, name, TCP, proxy, TLS, CONNACK, and what the broker allows.
 *
 * @throws {CheckFailed} when a step failed, which was reported
 */
export async function checkWay(
  config: Config,
  options: CheckOptions,
  report: Report,
): Promise<void> {
  const credentials = await checkFiles(config, report);
  if (options.offline) return;
  const attempt = new CheckAttempt(config, options, report);
  await attempt.resolveName();
  await attempt.connect(credentials);
}

/** The part of a check that uses the network. */
class CheckAttempt {
  readonly #target: ReturnType<typeof targetOf>;
  readonly #facts: AttemptFacts;
  /** When each stage of the attempt began. */
  readonly #began = new Map<string, number>();
  #end: LinkEnd | undefined;

  constructor(
    config: Config,
    private readonly options: CheckOptions,
    private readonly report: Report,
  ) {
    const target = targetOf(config, 0);
    const { asThing } = options;
    const clientId = asThing ? target.clientId : clientIdBeside(target.clientId);
    this.#target = { ...target, clientId };
    const hasProxy = target.proxy !== undefined;
    this.#facts = { port: target.port, hasProxy, clientId, asThing };
  }

  /** Asks for each address of the name; a compiled program may not, and leaves it to the connection. */
  resolveName(): Promise<void> {
    const { host } = this.#target.proxy ?? this.#target;
    return this.#step("name", async () => {
      const warning = this.#target.proxy === undefined ? endpointWarning(host) : undefined;
      const outcome = warning === undefined ? "ok" : "warning";
      const says = (text: string): string => warning === undefined ? text : `${text}; ${warning}`;
      if (isIP(host) !== 0) return { outcome, text: `${host} is an address` };
      try {
        const found = await lookup(host, { all: true });
        return { outcome, text: says(`${host} is ${found.map((one) => one.address).join(", ")}`) };
      } catch (error) {
        if (!isRefused(error)) throw nameError(host, error);
        const text = `${host} is resolved with the connection: this program may not ask by itself`;
        return { outcome: warning === undefined ? "skipped" : "warning", text: says(text) };
      }
    });
  }

  async connect(credentials: Credentials): Promise<void> {
    let secure: SecureStream;
    try {
      const hook = (callback: string): void => {
        const [, stage] = /^(\w+) start$/.exec(callback) ?? [];
        if (stage !== undefined && !this.#began.has(stage)) {
          this.#began.set(stage, performance.now());
        }
      };
      secure = await openStream(this.#target, credentials, { hook });
    } catch (error) {
      throw this.#failed(error);
    }
    this.#reportStream(secure);
    await this.#speak(secure);
  }

  async #speak(secure: SecureStream): Promise<void> {
    let link: MqttLink | undefined;
    const { clientId, version, keepAliveS } = this.#target;
    const { asThing, topic, filter } = this.options;
    await this.#step("mqtt", async () => {
      link = await openLink(secure, {
        clientId,
        version,
        keepAliveS,
        // The daemon's session, which may hold subscriptions, stays as it is.
        cleanStart: !asThing,
        ...asThing && version === "5" ? { sessionExpiryS: SESSION_EXPIRY_S } : {},
        connackTimeoutMs: DEADLINES.connackMs,
        where: nameOf(this.#target),
        gate: new ReadGate(systemClock),
        // What breaks MQTT in a message of others is no matter of this check.
        onRejected: () => {},
      }, { onMessage: () => {}, onEnd: (end) => this.#end = end });
      return { outcome: "ok", text: `accepted as ${clientId}; ${connackText(link.connack)}` };
    });
    try {
      if (topic !== undefined) await this.#step("publish", () => this.#publish(link!, topic));
      if (filter !== undefined) await this.#step("subscribe", () => this.#subscribe(link!, filter));
    } finally {
      await link!.close();
    }
  }

  async #publish(link: MqttLink, topic: string): Promise<Pick<CheckStep, "outcome" | "text">> {
    const { promise, resolve } = Promise.withResolvers<{ code: number; reason: string }>();
    link.publish(
      { topic, payload: new Uint8Array(0), qos: 1 },
      (result) => resolve(result ?? { code: -1, reason: "" }),
    );
    const { code, reason } = await this.#answered("PUBLISH", promise);
    return this.#allowed(code, reason, `PUBLISH to ${topic}`, "iot:Publish");
  }

  async #subscribe(link: MqttLink, filter: string): Promise<Pick<CheckStep, "outcome" | "text">> {
    const granted = await this.#answered("SUBSCRIBE", link.subscribe([filter], 1));
    const { code, reason } = granted?.[0] ?? { code: -1, reason: "" };
    return this.#allowed(code, reason, `SUBSCRIBE to ${filter}`, "iot:Subscribe and iot:Receive");
  }

  async #answered<T>(packet: string, answer: Promise<T>): Promise<T> {
    const over = new AbortController();
    const late = sleep(systemClock, ANSWER_MS, over.signal).then(() => "late" as const);
    try {
      const first = await Promise.race([answer, late]);
      if (first !== "late") return first;
    } finally {
      over.abort();
    }
    throw new ConnectError("connack", "timeout", `${packet} had no answer within ${ANSWER_MS} ms`);
  }

  /** @param code -1 when the connection ended first, which is how AWS IoT Core refuses a PUBLISH to MQTT 3.1.1 */
  #allowed(
    code: number,
    reason: string,
    what: string,
    action: string,
  ): { outcome: "ok"; text: string } {
    if (code >= 0 && code < 0x80) return { outcome: "ok", text: `${what} was acknowledged` };
    const why = code < 0
      ? `the connection ended: ${this.#end?.reason ?? "no reason"}`
      : describeCode(code, reason);
    throw new RefusedError(`${what} was refused: ${why}`, action);
  }

  #reportStream({ stream, tcp }: SecureStream): void {
    const [tcpAt, proxyAt, tlsAt] = ["tcp", "proxy", "tls"].map((stage) => this.#began.get(stage));
    const now = performance.now();
    const peer = nameOf(this.#target.proxy ?? this.#target);
    const step = (step: CheckName, from: number, to: number, text: string): void =>
      this.report({ step, outcome: "ok", ms: to - from, text });
    step("tcp", tcpAt!, proxyAt ?? tlsAt!, `connected to ${peer} at ${tcp.address}`);
    if (proxyAt !== undefined) {
      step("proxy", proxyAt, tlsAt!, `tunnel to ${nameOf(this.#target)} through ${peer}`);
    }
    const { valid_to: until } = stream.getPeerCertificate();
    const text = `${
      stream.getProtocol() ?? "TLS"
    }; the server's certificate verifies against the root CA for ${this.#target.host}${
      until === undefined ? "" : `, valid until ${new Date(until).toISOString().slice(0, 10)}`
    }`;
    step("tls", tlsAt!, now, text);
  }

  /** Reports the stage that failed, and those before it. */
  #failed(error: unknown): unknown {
    if (!(error instanceof ConnectError)) return error;
    const stage = error.stage as "tcp" | "proxy" | "tls";
    const now = performance.now();
    const stages = (["tcp", "proxy", "tls"] as const).filter((name) => this.#began.has(name));
    for (const [n, name] of stages.entries()) {
      const ms = (this.#began.get(stages[n + 1] ?? "") ?? now) - this.#began.get(name)!;
      if (name === stage) break;
      const peer = nameOf(this.#target.proxy ?? this.#target);
      const text = name === "tcp" ? `connected to ${peer}` : `tunnel through ${peer}`;
      this.report({ step: name, outcome: "ok", ms, text });
    }
    const ms = now - (this.#began.get(stage) ?? now);
    const advice = adviceOn(error, this.#facts);
    this.report({ step: stage, outcome: "failed", ms, text: messageOf(error), advice });
    return new CheckFailed(exitOf(error));
  }

  #step(
    name: CheckName,
    work: () => Promise<Pick<CheckStep, "outcome" | "text">>,
  ): Promise<void> {
    return checkStep(name, this.report, work, (error) => {
      if (error instanceof RefusedError) {
        const advice = `the policy of the certificate must allow ${error.action} there`;
        return { exit: Exit.NOPERM, advice };
      }
      if (!(error instanceof ConnectError)) return undefined;
      return { exit: exitOf(error), advice: adviceOn(error, this.#facts) };
    });
  }
}

/** The broker does not allow what was tried; `action` is what its policy calls it. */
class RefusedError extends Error {
  constructor(message: string, readonly action: string) {
    super(message);
  }
}

/** A client id beside the daemon's: a second connection with its own would end the daemon's. */
function clientIdBeside(id: string): string {
  const suffix = `-check-${crypto.randomUUID().slice(0, 8)}`;
  const letters = [...id];
  while (textLength(letters.join("")) + suffix.length > MAX_CLIENT_ID_BYTES) letters.pop();
  return letters.join("") + suffix;
}

/** What the broker said of itself and its limits when it accepted. */
function connackText(connack: ConnackInfo): string {
  const { maximumPacketSize, maximumQos, keepAliveS, sessionExpiryS } = connack;
  return [
    `it takes ${connack.receiveMaximum} messages in flight`,
    ...maximumPacketSize === undefined ? [] : [`packets up to ${maximumPacketSize} bytes`],
    ...maximumQos === undefined ? [] : [`QoS up to ${maximumQos}`],
    ...connack.retainAvailable === false ? ["no retained messages"] : [],
    ...connack.wildcardAvailable === false ? ["no wildcards"] : [],
    ...connack.sharedAvailable === false ? ["no shared subscriptions"] : [],
    ...keepAliveS === undefined ? [] : [`keep-alive ${keepAliveS} s`],
    ...sessionExpiryS === undefined ? [] : [`keeps the session for ${sessionExpiryS} s`],
    connack.sessionPresent ? "had a session" : "had no session",
  ].join(", ");
}

/** Deno's `lookup` says EPERM when no permission covers every host. */
function isRefused(error: unknown): boolean {
  return error instanceof Deno.errors.NotCapable ||
    (error instanceof Error && "code" in error && error.code === "EPERM");
}

function nameError(host: string, error: unknown): ConnectError {
  return new ConnectError(
    "tcp",
    "dns",
    `the name ${host} cannot be resolved (${messageOf(error)})`,
  );
}
