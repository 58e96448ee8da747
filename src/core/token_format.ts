import type { MaybePromise } from "./maybe_promise.ts";
import type { Operation } from "./repository.ts";

/** The seam between an id and the token that a client holds. `signedIds()` is one. */
export interface TokenFormat {
  /** The token of an id: printable ASCII without semicolons, and without spaces or double quotes at the ends. */
  toToken(id: string, op: Operation): MaybePromise<string>;
  /** The id of a token, or null if this server did not make it. */
  toId(token: string, op: Operation): MaybePromise<string | null>;
}
