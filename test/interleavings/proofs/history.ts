import type { Program } from "./program.ts";

/** The contents of a session. */
export interface Data {
  /** The number of the request that signed in. */
  login: number;
  /** The numbers of the requests that added something since. */
  added: readonly number[];
}

/** One request, what it presents, and its result. Instants are numbers of events; times are epoch milliseconds. */
export interface Sent {
  readonly number: number;
  readonly who: string;
  /** Who has sent it: an owner, or null for the thief. */
  readonly owner: number | null;
  readonly method: string;
  readonly path: string;
  /** The session id that it presents, in a cookie or in a header. */
  readonly id: string | null;
  readonly isInHeader: boolean;
  /** The second cookie, and the proofs of DBSC and of DPoP. */
  readonly second: string | null;
  readonly dbsc: string | null;
  readonly dpop: string | null;
  begunAt: number;
  endedAt: number;
  /** When the client received the response. Infinity if that did not happen. */
  heardAt: number;
  /** The true time, and that of the server's clock, at the beginning and at the end. */
  begunTime: number;
  begunClock: number;
  endedClock: number;
  outcome: "under way" | "answered" | "failed" | "crashed";
  error?: unknown;
  /** The calls of the store that failed at its server meanwhile. */
  faults: number;
  /** What the handler found; undefined if the handler did not run or found no login. */
  found?: Data;
  /** The login that it began, and the grace of the old id. */
  begins?: { readonly login: number; readonly grace: number };
  /** What was added, if the response says so. */
  adds?: { readonly login: number };
  /** A CSRF token that it made, or one that it verified, with the session's id. */
  form?: { readonly token: string; readonly id: string };
  post?: { readonly token: string; readonly id: string | null; readonly isValid: boolean };
  status: number;
  /** What the response sets: the session id and the second cookie. Null if it expires them, undefined if it leaves them. */
  toldId?: string | null | undefined;
  toldSecond?: string | null | undefined;
  toldNonce?: string | undefined;
}

/** A read of an owner while nothing else happened and nothing failed, and what the owner must find. */
export interface Audit {
  readonly owner: number;
  readonly expected: number;
  readonly found: number | undefined;
  readonly who: string;
}

/** Everything that happened in a program. */
export interface History {
  readonly program: Program;
  readonly sent: readonly Sent[];
  readonly audits: readonly Audit[];
  /** Proofs that the thief has signed, with the thief's own key. */
  readonly forged: ReadonlySet<string>;
  /** The original request of each proof of DPoP. */
  readonly originals: ReadonlyMap<
    string,
    { readonly method: string; readonly path: string; readonly id: string | null }
  >;
  readonly stuck: readonly string[];
  readonly trace: readonly string[];
  readonly calls: number;
  readonly faults: number;
  readonly crashes: number;
}

/** Whether a request was answered and heard, and nothing failed. */
export function isClean({ outcome, faults, heardAt }: Sent): boolean {
  return outcome === "answered" && faults === 0 && heardAt < Infinity;
}
