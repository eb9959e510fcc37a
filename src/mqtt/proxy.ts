import { fromUtf8, utf8 } from "../base/bytes.ts";
import { ConnectError } from "./connect_error.ts";

/** The longest answer to CONNECT that is read, in bytes. */
export const MAX_PROXY_HEAD_BYTES = 8_192;

/** An HTTP proxy, as its URL says. */
export interface Proxy {
  /** The proxy itself is spoken to over TLS (`https://`). */
  readonly tls: boolean;
  /** A name or address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** The value of `Proxy-Authorization`; a secret. */
  readonly authorization?: string;
}

/**
 * Reads a proxy URL, `http[s]://[user[:password]@]host[:port]`; the port is 80 or 443 by default, as Greengrass has it.
 *
 * @throws {TypeError} With what is wrong; never with the URL, which may hold a password.
 */
export function parseProxyUrl(text: string): Proxy {
  const url = parseUrl(text.includes("://") ? text : `http://${text}`);
  if (url === undefined || url.hostname === "") {
    throw new TypeError(
      "Cannot use the proxy: its URL must be http[s]://[user:password@]host[:port]",
    );
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TypeError(
      `Cannot use the proxy: its scheme must be http or https, got ${url.protocol.slice(0, -1)}`,
    );
  }
  const tls = url.protocol === "https:";
  const proxy = {
    tls,
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? (tls ? 443 : 80) : Number(url.port),
  };
  if (url.username === "" && url.password === "") return proxy;
  return { ...proxy, authorization: basic(url.username, url.password) };
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

function basic(username: string, password: string): string {
  try {
    const bytes = utf8(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`);
    return `Basic ${btoa(String.fromCharCode(...bytes))}`;
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new TypeError(
      "Cannot use the proxy: the user and password in its URL must be percent-encoded UTF-8",
    );
  }
}

/**
 * The proxy that a host is reached through, or `undefined` for none.
 *
 * @throws {TypeError} For a URL that {@linkcode parseProxyUrl} refuses.
 */
export function proxyFor(
  host: string,
  url: string | undefined,
  noProxy: string | undefined,
): Proxy | undefined {
  if (url === undefined || url === "" || bypassesProxy(host, noProxy ?? "")) return undefined;
  return parseProxyUrl(url);
}

/**
 * Whether a host is reached without the proxy, by the rules of curl: names separated by commas or blanks, each standing
 * for itself and what is below it, with or without a leading dot; addresses and CIDR blocks; a lone `*` for everything.
 */
export function bypassesProxy(host: string, noProxy: string): boolean {
  if (noProxy.trim() === "*") return true;
  const name = host.replace(/^\[|\]$/g, "").replace(/\.$/, "").toLowerCase();
  const address = parseAddress(name);
  return noProxy.split(/[\s,]+/).some((entry) => {
    if (entry === "") return false;
    return address === undefined ? matchesName(name, entry) : matchesBlock(address, entry);
  });
}

function matchesName(name: string, entry: string): boolean {
  const suffix = entry.toLowerCase().replace(/^\./, "").replace(/\.$/, "");
  return suffix !== "" && (name === suffix || name.endsWith("." + suffix));
}

function matchesBlock(address: readonly number[], entry: string): boolean {
  const [, base = "", bitsText] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(entry) ?? [];
  const block = parseAddress(base.replace(/^\[|\]$/g, "").toLowerCase());
  if (block === undefined || block.length !== address.length) return false;
  const bits = bitsText === undefined ? block.length * 8 : Number(bitsText);
  if (bits > block.length * 8) return false;
  return block.every((byte, index) => {
    const kept = Math.min(8, Math.max(0, bits - index * 8));
    const mask = (0xff << (8 - kept)) & 0xff;
    return (byte & mask) === (address[index]! & mask);
  });
}

/** The 4 or 16 bytes of an IP address, or `undefined`. */
function parseAddress(text: string): number[] | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): number[] | undefined {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return undefined;
  const bytes = text.split(".").map(Number);
  return bytes.every((byte) => byte <= 255) ? bytes : undefined;
}

function parseIpv6(text: string): number[] | undefined {
  // The URL parser checks the address and writes it in its one canonical form.
  const url = parseUrl(`http://[${text}]/`);
  if (url === undefined) return undefined;
  const [head = "", tail] = url.hostname.slice(1, -1).split("::");
  const groups = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((group) => parseInt(group, 16));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
  return all.flatMap((group) => [group >> 8, group & 0xff]);
}

/**
 * The request for a tunnel to a host [RFC 9110, 9.3.6].
 *
 * @throws {ConnectError} When the host could end the line and start another.
 */
export function connectRequest(proxy: Proxy, host: string, port: number): Uint8Array<ArrayBuffer> {
  if (!/^[\w.:-]+$/.test(host)) {
    throw new ConnectError("proxy", "config", "Cannot ask the proxy for a host that is not a name");
  }
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`];
  if (proxy.authorization !== undefined) lines.push(`Proxy-Authorization: ${proxy.authorization}`);
  return utf8(lines.join("\r\n") + "\r\n\r\n");
}

/**
 * Looks at what the proxy answered so far: `true` when the tunnel stands, `false` when more has to come.
 *
 * @param where The proxy for messages, without its credentials.
 * @throws {ConnectError} Kind `proxy` when it refused, `protocol` when it is no HTTP proxy.
 */
export function tunnelStands(answer: Uint8Array, where: string): boolean {
  const text = fromUtf8(answer.map((byte) => byte < 0x80 ? byte : 0x3f)) ?? "";
  const start = "HTTP/1.";
  if (!text.startsWith(start.slice(0, Math.min(text.length, start.length)))) {
    throw new ConnectError("proxy", "protocol", `${where} does not answer as an HTTP proxy`);
  }
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) {
    if (answer.length < MAX_PROXY_HEAD_BYTES) return false;
    const said = `${where} answered with a head over ${MAX_PROXY_HEAD_BYTES} bytes`;
    throw new ConnectError("proxy", "protocol", said);
  }
  const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |\r\n)/.exec(text)?.[1] ?? NaN);
  if (Number.isNaN(status)) {
    throw new ConnectError("proxy", "protocol", `${where} does not answer as an HTTP proxy`);
  }
  if (status < 200 || status > 299) {
    throw new ConnectError("proxy", "proxy", `${where} refused the tunnel: ${statusText(status)}`);
  }
  if (answer.length > end + 4) {
    const said = `${where} answered ${status}, but with a page instead of a tunnel`;
    throw new ConnectError("proxy", "protocol", said);
  }
  return true;
}

function statusText(status: number): string {
  switch (status) {
    case 403:
      return "403, the host or port is not allowed";
    case 407:
      return "407, it wants a user and password, or other ones";
    case 502:
      return "502, it cannot reach the endpoint";
    case 503:
      return "503, it is not available";
    case 504:
      return "504, the endpoint did not answer it";
    default:
      return `status ${status}`;
  }
}
