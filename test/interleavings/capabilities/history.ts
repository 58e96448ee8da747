import type { SessionEvent } from "../../../mod.ts";
import type { Key, Program, User, Visit } from "./program.ts";

/** The contents of a session. The program changes `state` as a whole, so that each answer says to which life a change belongs. */
export interface Data {
  state: State;
  left: number;
  right: number;
  /** A value of a request that fails. */
  doomed: number;
}

/** What a session says about itself. */
export interface State {
  /** The number of the request that began this life: a first visit, a login, a changed password, or the end of a login. New ids keep it. */
  readonly life: number;
  readonly user: User | null;
  readonly browser: number;
  /** The numbers of the requests that added something. */
  readonly added: readonly number[];
}

/** Something that a request did. Instants are numbers of events, not times. `ackedAt` is missing if nothing acknowledged it. */
export type Deed = { readonly begunAt: number; ackedAt?: number } & (
  | { readonly does: "add"; readonly life: number; readonly list: readonly number[] }
  | { readonly does: "set"; readonly life: number; readonly key: Key }
  /** `before` is the earlier life of the same session, and `keeps` says whether its contents stay. */
  | {
      readonly does: "begin";
      readonly life: number;
      readonly user: User | null;
      readonly before: number | null;
      readonly keeps: boolean;
    }
  | { readonly does: "end"; readonly life: number }
  /** A logout with an id that gives no session. */
  | { readonly does: "end the old id" }
  | { readonly does: "end all"; readonly user: User; readonly spares: number | null }
  | { readonly does: "end the handle"; readonly handle: string }
  | { readonly does: "change the password"; readonly user: User; readonly life: number }
  | { readonly does: "renew"; readonly life: number; readonly hasGrace: boolean }
);

/** One request, and its result. */
export interface Sent extends Visit {
  readonly number: number;
  readonly who: string;
  readonly isAudit: boolean;
  /** The session cookie that it presents. */
  presented: string | null;
  begunAt: number;
  /** When the server had finished it, and when the browser received the response. Infinity if that did not happen. */
  endedAt: number;
  heardAt: number;
  /** When the server had done what it does after the response, if there is something. Infinity if that did not happen. */
  storedAt?: number;
  /** The true time at its beginning and at its end, in epoch milliseconds. */
  begunTime: number;
  endedTime: number;
  outcome: "not sent" | "under way" | "answered" | "failed on purpose" | "failed" | "crashed";
  error?: unknown;
  /** Whether the limit of sessions refused the login. */
  isRefused: boolean;
  /** How many calls of its process failed during the request. */
  faults: number;
  /** The session that it found, or null; undefined if it could not look. */
  found?: State | null;
  readonly values: Partial<Omit<Data, "state">>;
  /** The handle of the session that it found; undefined if it did not ask. */
  handle?: string | null;
  readonly events: { readonly type: SessionEvent["type"]; readonly reason?: string }[];
  readonly deeds: Deed[];
  /** The session cookie of the response, "over" if it expires the cookie, or null. */
  told: string | "over" | null;
  headers?: Headers;
  /** Whether the browser held another session cookie when a new one arrived than when it sent the request. */
  overtakes: boolean;
}

/** The users' lists after a round, as one server shows them. */
export interface Listing {
  readonly at: number;
  /** In epoch milliseconds. */
  readonly time: number;
  readonly user: User;
  readonly handles: readonly string[];
}

/** One program as it was played. */
export interface History {
  readonly program: Program;
  readonly sent: readonly Sent[];
  readonly listings: readonly Listing[];
  /** The last request before the end of each round. */
  readonly rounds: readonly { readonly at: number }[];
  /** What the users' own plugins complain about. */
  readonly complaints: readonly string[];
  readonly stuck: readonly string[];
  readonly trace: readonly string[];
  readonly calls: number;
  readonly faults: number;
  readonly crashes: number;
}
