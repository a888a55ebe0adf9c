// The types of tidegate.js. README.md has examples.

declare global {
  interface SymbolConstructor {
    /** TypeScript has it itself since 5.2. */
    readonly asyncDispose: unique symbol;
  }
}

/**
 * - `ECONNRESET`: the backend reset the connection, or the proxy ended it (shutdown, internal error)
 * - `EPIPE`: the backend had said that it was finished; then the connection was lost before it had all of ours
 * - `ETRUNCATED`: lost without an end, or the count of FIN is wrong: what was read is not all
 * - `EUNREACHABLE`: the backend cannot be connected to; or the proxy cannot, or has refused and the
 *   WebSocket does not say so
 * - `ETIMEDOUT`: the backend did not accept in time; idle or open too long
 * - `EDENIED`: policy, a limit, or a refusal in HTTP (401, 403, 404) that the WebSocket tells of
 * - `EPROTO`: WebSocket or half-close protocol violated
 */
export type ErrorCode =
  | "ECONNRESET"
  | "EPIPE"
  | "ETRUNCATED"
  | "EUNREACHABLE"
  | "ETIMEDOUT"
  | "EDENIED"
  | "EPROTO";

/** Why a connection failed. What the user aborted it with is passed on as it is instead. */
export class TidegateError extends Error {
  constructor(code: ErrorCode, closeCode: number, reason: string);
  code: ErrorCode;
  /** Of the WebSocket; 1006: it got none. */
  closeCode: number;
  /** For people; may be empty. */
  reason: string;
}

export interface Options {
  /** Aborts the connection, also while it opens. */
  signal?: AbortSignal;
  /** Bytes that the peer may send ahead of what was read, and not one more: 1 to 2 ** 32 - 1. Default: 1 MiB (1048576). */
  window?: number;
  /** A bearer token for the proxy. */
  token?: string;
  /** Further subprotocols to offer; the one that is chosen must be ours: `v1.tidegate` or `v1.tidegate.window.N`. */
  protocols?: string | string[];
  /** Default: the global one. Its instances must be like those of the standard; those of `ws` are. */
  WebSocket?: new (url: string, protocols: string[]) => any;
}

export interface Connection {
  /** A byte stream. Closes at the peer's FIN; fails if that does not come. To cancel it before aborts all. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Closing it says FIN, and reading goes on. To abort it aborts all. */
  readonly writable: WritableStream<ArrayBuffer | ArrayBufferView>;
  /** Settles when the proxy has answered. */
  readonly opened: Promise<void>;
  /** Fulfilled when both streams were complete and the backend's kernel has all bytes and the end. */
  readonly closed: Promise<{ closeCode: number; reason: string }>;
  /**
   * Says FIN if `writable` has not, throws away what is still to be read if nobody reads, and is `closed`.
   * A TypeError if somebody else has locked `writable`.
   */
  close(): Promise<{ closeCode: number; reason: string }>;
  /** The backend sees a reset; streams and promises fail with `reason` (default: an AbortError). */
  abort(reason?: unknown): void;
  /** Awaits `closed` if both streams have ended, and aborts otherwise. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Opens a connection to the backend of the proxy at `url`: ws, wss, http or https. */
export function connect(url: string | URL, options?: Options): Connection;
