/** The part of a connection that the bus uses; `Deno.Conn` is one. */
export interface BusConn {
  /** Reads into `into`; `null` at the end of the stream. */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes all or a part of `bytes`; returns how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Closes, also under a pending read or write. Throws when closed already. */
  close(): void;
}

/** Where connections come from; `Deno.UnixListener` is one, a socket handed over by systemd can be another. */
export interface BusListener {
  /** The next connection; rejects for ever once closed. */
  accept(): Promise<BusConn>;
  close(): void;
}
