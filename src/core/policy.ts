import type { Codec } from "./codec.ts";
import type { SessionEvent } from "./events.ts";
import type { TimeoutLimits, Timeouts } from "./expiry.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import type { Plugin } from "./plugin.ts";
import type { Fields } from "./record_fields.ts";
import type { Found, Repository } from "./repository.ts";
import type { SessionStore } from "./store.ts";
import type { Transport } from "./transport.ts";

/** The name of a cookie or header that one session of a request may have. */
export interface NameClaim {
  readonly kind: "cookie" | "header";
  /** The name as the options give it, or the default name. */
  readonly name: string;
  /** The same text for each spelling of the name: a cookie has no prefix on loopback, and header names ignore case. */
  readonly id: string;
}

/** The options of one manager, with their defaults filled in. They apply to each of its sessions. */
export interface Policy {
  readonly repository: Repository;
  readonly plugins: readonly Plugin[];
  readonly transports: readonly [Transport, ...Transport[]];
  /** The request headers that the first transports read, by the number of these transports. */
  readonly varyHeaders: readonly (readonly string[])[];
  /** Whether the transports are the user's own. */
  readonly hasOwnTransports: boolean;
  /** The name of the cookie or header, if it does not depend on the request. */
  readonly name: string;
  /** The name of the header if there is a cookie as well; undefined otherwise. */
  readonly headerName: string | undefined;
  /** The cookie and the header that no other session of a request may have, as far as they are known before a request comes. */
  readonly claims: readonly NameClaim[];
  /** The option `store`, to tell whether two managers share it. */
  readonly storeOption: unknown;
  /** Opens the store, or finds the open one. */
  readonly resolveStore: (runtimeArguments: readonly unknown[]) => MaybePromise<SessionStore>;
  readonly timeouts: Timeouts;
  readonly limits: TimeoutLimits;
  /** Seconds after which a request that uses the session rotates its id; undefined for never. */
  readonly rotateEvery: number | undefined;
  /** Whether a request counts as use of the session. */
  readonly countsAsUse: (request: Request) => boolean;
  readonly codec: Codec;
  /** Checks loaded data against the schema; undefined without a schema. */
  readonly validateLoaded: ((found: Found) => MaybePromise<Found | "schema">) | undefined;
  /** Checks data before they are stored; undefined without a schema. @throws {SessionError} `ERR_SCHEMA` */
  readonly validateChanges: ((fields: Fields) => MaybePromise<void>) | undefined;
  readonly isEager: boolean;
  readonly persistsAfterResponse: boolean;
  readonly waitUntil: ((promise: Promise<unknown>, ...rest: unknown[]) => void) | undefined;
  readonly toleratesFailure: boolean;
  readonly storeTimeout: number;
  readonly onEvent: ((event: SessionEvent) => unknown) | undefined;
  readonly generateId: (request: Request | undefined) => MaybePromise<string>;
  readonly now: () => number;
  /** Whether the writes of several requests to one session may be stored as one. */
  readonly combinesWrites: boolean;
}
