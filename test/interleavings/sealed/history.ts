import type { SessionEvent } from "../../../mod.ts";
import type { Program, Visit } from "./program.ts";

/** The values of a session. */
export interface Data {
  /** The number of the request that began this session, or with which a user signed in to it. New ids keep it. */
  life: number;
  browser: number;
  /** The numbers of the requests that added something. */
  added: readonly number[];
  /** The number of the last request that set it. */
  mark: number;
  /** A text, for its length. */
  text: string;
  /** A flash value. */
  notice: number;
}

/** A session as a request found or left it. */
export interface State {
  readonly data: Partial<Data>;
  /** The timeouts that are in force, in seconds. */
  readonly idle: number;
  readonly absolute: number;
}

/** A cookie that a browser has received or copied. The parts of a session that is split are one cookie. */
export interface Copy {
  readonly name: string;
  readonly token: string;
}

/** What a response does with the session cookie: it sets one, or expires it. */
export type Told = { readonly name: string; readonly token: string } | "over" | null;

/** One request, and its result. Instants are numbers of events; a `…Time` is a true time, in epoch milliseconds. */
export interface Sent extends Visit {
  readonly number: number;
  readonly who: string;
  readonly isAudit: boolean;
  /** The cookie that the server reads: that of its own name, or else that of its previous one. */
  presented: Copy | null;
  begunAt: number;
  begunTime: number;
  /** When the server had finished it, and when the browser received the response. Infinity if that did not happen. */
  endedAt: number;
  endedTime: number;
  heardAt: number;
  outcome: "not sent" | "under way" | "answered" | "failed on purpose" | "failed" | "crashed";
  error?: unknown;
  /** How many calls of its process failed during the request. */
  faults: number;
  /** The values that it found; null if there was no session, and undefined if it could not look. */
  found?: Partial<Data> | null;
  /** What the session may hold now: as it was found, after each `save`, and at the end. Null stands for no session. */
  readonly left: (State | null)[];
  /** Whether the handler has called what it had to do. */
  isDone: boolean;
  readonly events: { readonly type: SessionEvent["type"]; readonly reason?: string }[];
  told: Told;
  headers?: Headers;
  /** Whether the response removed the only session cookie of the browser. */
  losesCookie: boolean;
}

/** One program as it was played. */
export interface History {
  readonly program: Program;
  readonly sent: readonly Sent[];
  readonly stuck: readonly string[];
  readonly trace: readonly string[];
  readonly calls: number;
  readonly faults: number;
  readonly crashes: number;
}
