import type { Config } from "../config/resolve.ts";
import type { Target } from "../mqtt/dial.ts";
import { proxyFor } from "../mqtt/proxy.ts";

/** Whom connection `index` connects to, and as whom: connection 0 has the bare id (iotcored-param-id-1). */
export function targetOf(config: Config, index: number): Target {
  const { host, port, id, mqttVersion, keepAliveS, proxy, rootca, cert, key } = config;
  return {
    host,
    port,
    clientId: index === 0 ? id : `${id}_${index}`,
    version: mqttVersion,
    keepAliveS,
    credentials: { rootca, cert, key },
    proxy: proxyFor(host, proxy?.url, proxy?.noProxy),
  };
}
