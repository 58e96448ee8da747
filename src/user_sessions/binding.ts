/**
 * The binding of one session to a user, and the name of the session in that user's list.
 *
 * @module
 */
import type { Codec } from "../core/codec.ts";
import { notSerializable, SessionError } from "../core/errors.ts";
import { chain } from "../core/maybe_promise.ts";
import { byteLength } from "../core/record_size.ts";
import { createId } from "../core/session_id.ts";
import type { SessionInternals } from "../core/session_internals.ts";
import { FACTS, type Facts, factsOf, listOf, type Pending, pendingOf, toPending } from "./facts.ts";
import { comparable, type IndexedMetadata, indexText, type UserSessionsOptions } from "./options.ts";

/** The most that metadata may take when encoded, in bytes. */
const MAX_METADATA_BYTES = 16_384;

/**
 * Records a binding, which is stored with the other changes of the request. If nothing must be awaited, it is recorded
 * before the call returns.
 */
export async function bind<Metadata>(
  internals: SessionInternals,
  userId: string,
  metadata: Metadata | undefined,
  options: UserSessionsOptions<Metadata>,
): Promise<void> {
  assertUserId(userId);
  const values: Record<string, string | undefined> = {};
  let shown: string | undefined;
  if (metadata !== undefined) {
    shown = encoded(internals.policy.codec, metadata);
    for (const [name, valueOf] of Object.entries(options.indexes ?? {}))
      values[name] = indexText(valueOf(metadata as IndexedMetadata<Metadata>));
  }
  await chain(internals.load(), () =>
    chain(options.credentialVersion?.(userId, ...internals.runtimeArguments), (given) => {
      const version = comparable("credentialVersion must return", given);
      internals.authenticate();
      // A handle cannot be guessed.
      const pending: Pending = { token: createId(), userId, values, version, shown };
      internals.setMetadata(FACTS, pending);
      return internals.begin();
    }),
  );
}

/** Records that a session belongs to no user. Another request may have bound it since this one has loaded it. */
export async function unbind(internals: SessionInternals): Promise<void> {
  await chain(internals.load(), () => {
    if (internals.found || internals.metadata(FACTS) !== undefined) internals.setMetadata(FACTS, null);
  });
}

/**
 * The handle of the session in its user's list, as this request sees it: after `bind` the handle that `list` will show,
 * and after `unbind` null.
 */
export async function handleOf(internals: SessionInternals): Promise<string | null> {
  const stored = await storedFacts(internals);
  const recorded = internals.metadata(FACTS);
  if (recorded === undefined) return null;
  const pending = toPending(recorded);
  const list = pending === undefined ? stored?.lists[0].list : await listOf("", pending.userId);
  // A session that stays with its user keeps its token: see `factsFor`.
  const token = pending === undefined || stored?.lists[0].list === list ? stored?.token : pending.token;
  return list === undefined || token === undefined ? null : `${list}.${token}`;
}

/**
 * The tokens of a session that must not be revoked: the stored one, and that of a binding in this request.
 *
 * @throws {SessionError} `ERR_STORE` if the session could not be loaded: without its token, it would be revoked. The same if a new
 *   one could not be stored
 */
export async function tokensOf(internals: SessionInternals): Promise<unknown[]> {
  const facts = await storedFacts(internals);
  // A binding in this request does not help: it cannot be stored, and it does not have the token of the stored one.
  if (internals.unavailable !== undefined)
    throw new SessionError("ERR_STORE", "Cannot revoke the sessions: the excepted one could not be loaded or stored");
  return [facts?.token, Object(internals.metadata(FACTS)).token];
}

/** The facts about a session's user as they are stored. */
async function storedFacts(internals: SessionInternals): Promise<Facts | undefined> {
  await internals.load();
  // If the binding was stored together with changes of other requests, this request does not have the stored facts yet.
  if (internals.found && pendingOf(internals.found.metadata) !== undefined) await internals.refresh();
  return internals.found ? factsOf(internals.found.metadata) : undefined;
}

/** Throws if an id names no user. Ending the sessions of `undefined` would look like a success. */
export function assertUserId(userId: unknown): asserts userId is string {
  if (typeof userId === "string" && userId !== "" && userId.isWellFormed()) return;
  throw new TypeError("The id of a user must be a well-formed string that is not empty; make a string of a number");
}

function encoded({ encode }: Codec, metadata: unknown): string {
  let text: string;
  try {
    text = encode(metadata);
  } catch (error) {
    throw notSerializable("metadata", error);
  }
  const size = byteLength(text);
  if (size <= MAX_METADATA_BYTES) return text;
  throw new SessionError(
    "ERR_NOT_SERIALIZABLE",
    `Cannot bind the session: its metadata is ${size} bytes, and the most is ${MAX_METADATA_BYTES}; give less`,
  );
}

/** The metadata that were given to `bind`. If they cannot be read, the session is listed without them. */
export function decoded({ decode }: Codec, text: string | null): unknown {
  try {
    return text === null ? undefined : decode(text);
  } catch {
    return undefined;
  }
}
