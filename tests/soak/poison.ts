/**
 * `deno task soak:poison [SCENE]`: what a broker that closes the connection for one topic or filter costs everyone else, at full
 * length; takes about ten minutes. Prints a line of figures for each scene.
 *
 * @module
 */

import { say } from "../dev/say.ts";
import {
  badSubscribe,
  CLOSINGS,
  cutNetwork,
  type Figures,
  flood,
  statedCloses,
  steady,
  tenForbidden,
} from "../support/poison_scenes.ts";

const SCENES: [string, () => Promise<Figures>][] = [
  ...CLOSINGS.flatMap((closing): [string, () => Promise<Figures>][] => [
    [`flood, MQTT ${closing}`, () => flood(closing)],
    [`steady, MQTT ${closing}`, () => steady(closing, 60)],
    [`SUBSCRIBE forbidden, MQTT ${closing}`, () => badSubscribe(closing, 30)],
    [`ten on one topic, MQTT ${closing}`, () => tenForbidden(closing, 1)],
    [`ten on ten topics, MQTT ${closing}`, () => tenForbidden(closing, 10)],
  ]),
  ["SUBSCRIBE never answered", () => badSubscribe("never answered", 30)],
  ["network cut every 3 s, MQTT 5", () => cutNetwork("5 without", 60)],
  ["network cut every 3 s, MQTT 3.1.1", () => cutNetwork("3.1.1", 60)],
  ["stated causes", () => statedCloses([0x97, 0x8b, 0x8e, 0x9c])],
];

const [wanted = ""] = Deno.args;
for (const [name, run] of SCENES.filter(([name]) => name.includes(wanted))) {
  const figures = Object.entries(await run()).map(([key, value]) => `${key} ${Math.round(value)}`);
  say(`${name}: ${figures.join(", ")}`);
}
