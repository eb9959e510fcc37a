import type { ForeignOption } from "./args.ts";
import { DAEMON_PLACE } from "./tool.ts";

const CREDENTIALS =
  "the daemon has the credentials: --rootca, --cert and --key of iotcored run, or the config service";
const SESSION = "the daemon's connection is shared, and iotcored run says how it is made";
const RETAIN = "the core bus carries no retain flag";
const PROPERTIES = "of the properties of MQTT 5 there is --message-expiry alone";

/** Options of `mosquitto_pub` and `mosquitto_sub` that can mean nothing here, and what takes their place. */
export const MOSQUITTO_OPTIONS: readonly ForeignOption[] = [
  { names: ["p", "port", "host", "L", "url", "S", "A", "unix"], instead: DAEMON_PLACE },
  {
    names: ["u", "username", "P", "pw", "cafile", "capath", "cert", "key", "keyform", "insecure"],
    instead: CREDENTIALS,
  },
  {
    names: ["tls-version", "tls-alpn", "tls-engine", "tls-use-os-certs", "ciphers", "psk"],
    instead: CREDENTIALS,
  },
  { names: ["psk-identity", "tls-engine-kpass-sha1", "tls-keylog"], instead: CREDENTIALS },
  { names: ["i", "id", "I", "id-prefix", "k", "keepalive", "x"], instead: SESSION },
  { names: ["c", "disable-clean-session", "V", "protocol-version"], instead: SESSION },
  { names: ["M", "max-inflight", "nodelay", "proxy"], instead: SESSION },
  { names: ["r", "retain", "R", "retained-only", "remove-retained"], instead: RETAIN },
  { names: ["retain-as-published", "retain-handling"], instead: RETAIN },
  { names: ["D", "property"], instead: PROPERTIES },
  {
    names: ["will-topic", "will-payload", "will-qos", "will-retain"],
    instead: "the daemon has no will",
  },
  { names: ["U", "unsubscribe"], instead: "a subscription ends with the program" },
  { names: ["d", "debug", "quiet"], instead: "the daemon's log says more: --log-level debug" },
];
