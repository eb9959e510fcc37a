/**
 * Every queue of the daemon, with its bound and what happens at it. Whatever grows with what clients, broker or disk do is here;
 * `status` shows how full those are that can fill up.
 *
 * @module
 */

import { MAX_WAITING_LOG_BYTES } from "../base/log.ts";
import { MAX_LOG_TEXTS } from "../base/rate_limited_log.ts";
import { MAX_WAITING } from "../bus/fd_listener.ts";
import {
  MAX_CLIENTS,
  MAX_PENDING_ANSWERS,
  MAX_QUEUED_BYTES,
  MAX_SPARE_READERS,
  PAUSE_QUEUED_BYTES,
} from "../bus/limits.ts";
import { RECEIVE_MAXIMUM } from "../mqtt/mqttjs_port.ts";
import { MAX_PROXY_HEAD_BYTES } from "../mqtt/proxy.ts";
import { MAX_REMOVALS } from "../spool/commit_queue.ts";
import { MAX_FRAME_BYTES } from "../wire/frame.ts";
import { FILTERS_PER_LINE } from "../subscribe/line.ts";
import { MAX_UNWRITTEN_BYTES } from "../publish/send_throttle.ts";
import { READ_AHEAD_BYTES } from "../publish/publisher.ts";
import { QOS0_LANE_BYTES } from "../publish/qos0_queue.ts";
import { MAX_IN_FLIGHT } from "../config/settings.ts";
import { MAX_VIRTUAL_FILTERS } from "../subscribe/subscriptions.ts";

/** A queue's bound. */
export interface Bound {
  /** Of what there may be so many. */
  readonly of: string;
  readonly most: number;
  /** What happens at it. */
  readonly then: string;
}

/** The bounds by name; those that `status` shows have the same name there. */
export const BOUNDS = {
  clients: {
    of: "clients of the bus, and what each of them may queue below",
    most: MAX_CLIENTS,
    then: "the next ones wait in the kernel's queue",
  },
  activated_clients: {
    of: "clients that Node's server took from systemd's socket and that are not served yet",
    most: MAX_WAITING,
    then: "the next ones are closed",
  },
  frame_bytes: {
    of: "bytes of a frame that a client sends, each client; room is made as they come",
    most: MAX_FRAME_BYTES,
    then: "the frame is refused with NOMEM",
  },
  spare_readers: {
    of: "readers kept for further clients",
    most: MAX_SPARE_READERS,
    then: "readers are dropped",
  },
  pending_answers: {
    of:
      "requests under way, each client; waiting for the disk, for SUBACK, or for PUBACK with ack=broker",
    most: MAX_PENDING_ANSWERS,
    then: "no further request of the client is read",
  },
  answer_bytes: {
    of: "bytes of answers that a client has not read",
    most: PAUSE_QUEUED_BYTES,
    then: "no further request of the client is read",
  },
  longest_client_queue_bytes: {
    of: "bytes that a subscriber has not read",
    most: MAX_QUEUED_BYTES,
    then: "the subscriber is closed",
  },
  subscriptions: {
    of: "filters on a connection",
    most: FILTERS_PER_LINE,
    then:
      "a further connection is opened, up to the most; then subscriptions are refused with NOMEM",
  },
  virtual_filters: {
    of: "filters of virtual subscriptions",
    most: MAX_VIRTUAL_FILTERS,
    then: "virtual subscriptions are refused with NOMEM",
  },
  spool_bytes: {
    of: "bytes in the spool; --spool-max-bytes says how many",
    most: Number.MAX_SAFE_INTEGER,
    then: "QoS 0 messages are evicted, then messages are refused with NOMEM",
  },
  removals: {
    of: "acknowledged messages whose removal waits for a sync",
    most: MAX_REMOVALS,
    then: "their place in flight is not free before they are removed",
  },
  read_ahead_bytes: {
    of: "bytes read from the spool before they are sent",
    most: READ_AHEAD_BYTES,
    then: "the rest stays in the spool",
  },
  waiting_qos0_bytes: {
    of: "bytes of QoS 0 messages that wait for the rate limit or the network",
    most: QOS0_LANE_BYTES,
    then: "QoS 0 messages are refused with NOMEM",
  },
  in_flight: {
    of: "QoS 1 messages sent and not acknowledged; --max-in-flight may say fewer",
    most: MAX_IN_FLIGHT,
    then: "the rest stays in the spool",
  },
  unwritten_bytes: {
    of: "bytes on their way into a connection's socket, and one message more",
    most: MAX_UNWRITTEN_BYTES,
    then: "nothing is sent until it has taken half of them",
  },
  arriving: {
    of: "QoS 1 messages that the broker sends without a PUBACK",
    most: RECEIVE_MAXIMUM,
    then: "the broker waits",
  },
  proxy_head_bytes: {
    of: "bytes of a proxy's answer",
    most: MAX_PROXY_HEAD_BYTES,
    then: "the attempt fails",
  },
  log_bytes: {
    of: "bytes of log lines that nobody has read",
    most: MAX_WAITING_LOG_BYTES,
    then: "lines are dropped and counted",
  },
  log_texts: {
    of: "texts of log lines that are held back when they flood",
    most: MAX_LOG_TEXTS,
    then: "further texts count as one",
  },
} as const satisfies Record<string, Bound>;

/** The name of a bound. */
export type BoundName = keyof typeof BOUNDS;
