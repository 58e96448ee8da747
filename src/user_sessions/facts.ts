import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import type { Metadata } from "../core/metadata.ts";
import { fromBase64Url, toBase64Url } from "../core/base64url.ts";
import { pad, sha256, unpad } from "../core/hash.ts";

/** The name in a session's metadata under which its user is noted. */
export const FACTS = "+users";

/** Where a session is listed. */
export type ListPlace = {
  /** The name of the list: a hash, which does not show the user. */
  readonly list: string;
  /** The page of the list; absent until the session is listed. */
  readonly page?: number;
};

/** The facts about its user in a session's metadata. */
export type Facts = {
  /** Names the session in its lists. It stays the same when the id changes. */
  readonly token: string;
  /** The list of the user, and one for each index. */
  readonly lists: readonly [user: ListPlace, ...indexes: ListPlace[]];
  /** The place in the order of the user's logins; absent until the session is listed. */
  readonly order?: number | undefined;
  /** A hash of the version of the user's credentials. */
  readonly version?: string | undefined;
  /** The user's id, hidden with the id of the session. */
  readonly user: string;
  /** The text of the metadata, hidden with the id of the user. */
  readonly shown?: string | undefined;
};

/** A binding that is not stored yet, in the clear. */
export type Pending = {
  /** A new token. It is not used if the session belongs to the same user already. */
  readonly token: string;
  readonly userId: string;
  /** The values of the indexes. */
  readonly values: { readonly [name: string]: string | undefined };
  readonly version?: string | number | undefined;
  /** The text of the metadata. */
  readonly shown?: string | undefined;
};

/** The facts about a session's user in its metadata; undefined if it belongs to no user. */
export function factsOf(metadata: Metadata): Facts | undefined {
  const value = metadata[FACTS];
  return isFacts(value) ? value : undefined;
}

/** The binding in the metadata that is not stored yet. */
export function pendingOf(metadata: Metadata): Pending | undefined {
  return toPending(metadata[FACTS]);
}

/** A binding that is not stored yet; undefined for any other fact. */
export function toPending(value: unknown): Pending | undefined {
  return typeof Object(value).userId === "string" ? (value as Pending) : undefined;
}

function isFacts(value: unknown): value is Facts {
  const { token, lists } = Object(value);
  return (
    typeof token === "string" && Array.isArray(lists) && lists.length > 0 && lists.every((place) => isKey(place?.list))
  );
}

/** Whether a value is a store key. Anything else that a store holds is not used as a key. */
export function isKey(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

/**
 * The name of the list of a user, or of all sessions with one value of an index.
 *
 * @param name The index; empty for users
 */
export function listOf(name: string, value: string): MaybePromise<string> {
  // No session id has a space, so no hash here is the store key of a session.
  return sha256(`with-session list ${JSON.stringify([name, value])}`);
}

/**
 * A hash of the version of credentials. It is enough to compare, and does not show the version, which may be the hash
 * of a password.
 */
export function versionHash(list: string, version: string | number): MaybePromise<string> {
  return chain(sha256(`with-session credentials ${list} ${JSON.stringify(version)}`), (hex) => hex.slice(0, 32));
}

/** Hides a text from readers who do not know the id of its owner, which is a session or a user. */
export function hide(text: string, token: string, owner: string): MaybePromise<string> {
  return pad(toBase64Url(new TextEncoder().encode(text)), `user session ${token} ${owner}`);
}

/** The text that {@linkcode hide} was given; null for another owner. */
export function reveal(hidden: string | undefined, token: string, owner: string): MaybePromise<string | null> {
  return chain(
    unpad(hidden ?? "", `user session ${token} ${owner}`),
    (text) => text && new TextDecoder().decode(fromBase64Url(text)),
  );
}

/**
 * The facts to store for a binding, under an id. If the user is the same as before, the session keeps its token and
 * lists.
 */
export async function factsFor(
  { userId, values, version, shown, ...pending }: Pending,
  before: Facts | undefined,
  id: string,
): Promise<Facts> {
  const list = await listOf("", userId);
  const known = before?.lists[0].list === list ? before : undefined;
  const placeOf = (list: string): ListPlace => known?.lists.find((place) => place.list === list) ?? { list };
  const indexes: ListPlace[] = [];
  for (const [name, value] of Object.entries(values))
    if (value !== undefined) indexes.push(placeOf(await listOf(name, value)));
  const { token, order }: Partial<Facts> & Pick<Facts, "token"> = known ?? pending;
  return {
    token,
    lists: [placeOf(list), ...indexes],
    order,
    version: version === undefined ? undefined : await versionHash(list, version),
    user: await hide(userId, token, id),
    shown: shown === undefined ? undefined : await hide(shown, token, userId),
  };
}
