/**
 * What is likely to be a mistake in an endpoint that is used all the same; `undefined` when there is nothing to say.
 *
 * Endpoints of AWS IoT Core without `-ats` in their first label have certificates of a Symantec CA that is no longer trusted ("Server
 * authentication", AWS IoT Core).
 */
export function endpointWarning(host: string): string | undefined {
  const [, first, rest] = /^([^.]+)(\.iot\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?)$/.exec(host) ?? [];
  if (first === undefined || first === "data" || first.endsWith("-ats")) return undefined;
  return `the endpoint ${host} is without -ats, and has a certificate of a CA that is no longer trusted; write ${first}-ats${rest}`;
}
