import { Exit } from "../base/errors.ts";
import { nameOf } from "../config/resolve.ts";
import { type ConnectError, isAuthentication, isSilentClose } from "../mqtt/connect_error.ts";

/** What is known of an attempt that failed, beside its error. */
export interface AttemptFacts {
  readonly port: number;
  readonly hasProxy: boolean;
  readonly clientId: string;
  /** Whether the client id is the thing's own, and no second one beside it. */
  readonly asThing: boolean;
}

/** CONNACK codes that refuse the client id or its policy, beside those of the credentials [MQTT-3.2.2-4], [MQTT5-3.2.2.2]. */
const CLIENT_ID_CODES: readonly number[] = [2, 0x85];

/** The exit code of a failed attempt: 77 when the broker refused this device, 69 for the network and the server's TLS. */
export function exitOf(failure: ConnectError): typeof Exit.NOPERM | typeof Exit.UNAVAILABLE {
  const isRefusal = isAuthentication(failure) || isSilentClose(failure) ||
    CLIENT_ID_CODES.includes(failure.code ?? -1);
  return isRefusal ? Exit.NOPERM : Exit.UNAVAILABLE;
}

/** What to do about a failed attempt, by name of option and config key. */
export function adviceOn(failure: ConnectError, facts: AttemptFacts): string {
  if (exitOf(failure) === Exit.NOPERM) return onRefusal(facts);
  switch (failure.stage) {
    case "tcp":
      return onTcp(failure, facts);
    case "proxy":
      return `look at the address, user and password in ${
        nameOf("proxy")
      }; the proxy must allow CONNECT to port ` +
        `${facts.port}; ${nameOf("noProxy")} names hosts that are reached without it`;
    case "tls":
      return onTls(failure);
    default:
      return "the broker is there but does not take the connection now; try again, and look at the service's health";
  }
}

function onRefusal({ clientId, asThing }: AttemptFacts): string {
  const certificate =
    `the certificate in ${
      nameOf("cert")
    } must be registered and active in the account and region of ` +
    nameOf("endpoint");
  const policy = `its policy must allow iot:Connect for the client id ${clientId}`;
  const thing = asThing
    ? ""
    : "; a policy for the thing's own id alone is tried with --as-thing, which takes over the running daemon's session";
  return `${certificate}, and ${policy}${thing}`;
}

function onTcp({ kind }: ConnectError, { port, hasProxy }: AttemptFacts): string {
  const peer = nameOf(hasProxy ? "proxy" : "endpoint");
  switch (kind) {
    case "dns":
      return `look at the spelling of ${peer}, and at the resolver of this device (/etc/resolv.conf)`;
    case "refused":
      return hasProxy
        ? `nothing listens there: look at the port in ${peer}`
        : `nothing listens there: look at ${nameOf("port")} and ${peer}`;
    case "unreachable":
      return "this device has no route there: look at its network interface and default route";
    default:
      return hasProxy || port === 443
        ? `a firewall may drop what goes there: look at the network and ${peer}`
        : `a firewall may drop what goes to port ${port}: port 443 is open more often, with ${
          nameOf("port")
        } 443`;
  }
}

function onTls({ kind, message }: ConnectError): string {
  if (kind !== "certificate") {
    return `what answers there is no broker that speaks TLS: look at ${
      nameOf("port")
    }, and for a portal or proxy on the way`;
  }
  if (/HOSTNAME|ALTNAME|NotValidForName|not match/i.test(message)) {
    return `the certificate is for another name: look at ${nameOf("endpoint")}`;
  }
  if (/NOT_YET|NotValidYet|not yet valid|EXPIRED/i.test(message)) {
    return "the certificate is not valid at the time of this device's clock: look at the clock";
  }
  return `${
    nameOf("rootca")
  } must hold the root CA of the endpoint, for AWS IoT Core Amazon Root CA 1 and 3 from ` +
    "https://www.amazontrust.com/repository; a proxy that reads TLS is another cause";
}
