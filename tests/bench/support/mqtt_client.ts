import { loadMqtt, type MqttClient } from "../../../deps.ts";

/** Files for mutual TLS. */
export interface Credentials {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/** MQTT.js as a program without a daemon would use it: MQTT 5, no reconnect, and no store for QoS 0. */
export async function connectMqtt(
  url: string,
  clientId: string,
  { ca, cert, key }: Credentials = { ca: undefined, cert: undefined, key: undefined },
): Promise<MqttClient> {
  const mqtt = await loadMqtt();
  const read = (path: string | undefined): { text?: string } =>
    path === undefined ? {} : { text: Deno.readTextFileSync(path) };
  const files = Object.fromEntries(
    Object.entries({ ca: read(ca).text, cert: read(cert).text, key: read(key).text })
      .filter(([, text]) => text !== undefined),
  );
  return await mqtt.connectAsync(url, {
    clientId,
    protocolVersion: 5,
    reconnectPeriod: 0,
    queueQoSZero: false,
    ...files,
  });
}
