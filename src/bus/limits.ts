/**
 * Every bound of the bus in one place; bytes and milliseconds.
 *
 * @module
 */

/** Most clients at once; further ones wait in the kernel's queue. */
export const MAX_CLIENTS = 4_096;

/** Clients that have to leave, after descriptors ran out, before another is accepted: the broker's link needs some too. */
export const DESCRIPTOR_RESERVE = 8;

/** How long accepting pauses after it failed. */
export const ACCEPT_PAUSE_MS = 100;

/** How long accepting waits for clients to leave, when descriptors ran out, before it tries again all the same. */
export const DESCRIPTOR_PAUSE_MS = 5_000;

/** Longest a frame may take from its first byte to its last (plus one sweep). */
export const FRAME_DEADLINE_MS = 5_000;

/** How long a client may stay without any request. */
export const IDLE_BEFORE_REQUEST_MS = 60_000;

/** How long a kept connection may stay idle between requests; a subscription has no such limit. */
export const IDLE_AFTER_REQUEST_MS = 600_000;

/** How long a client may leave data unread before it is closed as slow. */
export const UNREAD_DEADLINE_MS = 10_000;

/** How often the deadlines are looked at: one timer for all clients, none per message. */
export const SWEEP_MS = 500;

/** Bytes that wait for one subscriber, after which no further message is read from the broker until half of them are taken. */
export const MAX_QUEUED_BYTES = 1_048_576;

/** How long a subscriber with a full queue may hold up the others, before it is seen whether it reads. */
export const FULL_QUEUE_MS = 1_000;

/** What a subscriber with a full queue takes in that time if it reads; one that takes less is closed as slow. */
export const LEAST_TAKEN_BYTES = 65_536;

/** Bytes that may be reserved for incomplete frames of all clients together, beside the 4 KiB that each has anyway. */
export const MAX_PARTIAL_BYTES = 33_554_432;

/** Answers that wait for a client before no further request of it is read. */
export const PAUSE_QUEUED_BYTES = 65_536;

/** Requests of one client under way at once before no further one is read. */
export const MAX_PENDING_ANSWERS = 256;

/** Frames of one client handled before the others get their turn. */
export const FRAMES_PER_TURN = 64;

/** Frames are joined up to this size; a larger one is written from where it is. */
export const JOIN_BYTES = 65_536;

/** How long answers under way may take when the server stops. */
export const CLOSE_GRACE_MS = 2_000;

/** Longest `reason` that an error frame carries, in UTF-16 units. */
export const MAX_REASON_LENGTH = 512;

/** Longest path of a Unix socket (`sun_path` without its NUL), in bytes. */
export const MAX_SOCKET_PATH_BYTES = 107;
