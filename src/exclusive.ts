/**
 * One request at a time, for effects that must not happen twice, such as exchanging a refresh token.
 *
 * @module
 */
import { isOutage, isSessionError, SessionError } from "./core/errors.ts";
import { CLOCK_SKEW } from "./core/expiry.ts";
import { assertKnown } from "./core/known_options.ts";
import { assertDuration } from "./core/options/simple_checks.ts";
import { CAPABILITY } from "./core/record_fields.ts";
import type { DefaultData, KeyOf, Session } from "./core/session.ts";
import { createWriteId } from "./core/session_id.ts";
import { internalsOf, type SessionInternals } from "./core/session_internals.ts";

/** Options of {@linkcode exclusive}. */
export interface ExclusiveOptions {
  /** How long, in seconds, `fn` may take before another request may run it as well. @default {30} */
  readonly lease?: number | undefined;
}

/**
 * Runs a function for one session and key in one request at a time, and stores its result under the key.
 *
 * Other requests that call it for the same session and key wait. A waiting request that loaded the session before the
 * result was stored gets the result. The others run the function with the stored value, one after the other. In each of
 * them, `session.get(key)` returns the value that was stored last.
 *
 * - If a request stores no result because its process was killed, the others wait until they have seen its lease for
 *   the lease's whole length. Then one of them runs the function. This does not depend on clocks.
 * - If the store fails while the result is stored, it is stored once more. If that fails too, the result is lost.
 * - If a function takes longer than the lease and another request takes over, its result cannot be stored.
 * - The lease is kept in the session. `clear()` does not end it: the result is stored afterwards. `destroy` ends it,
 *   and so does `regenerate` for a request with the old id: the result cannot be stored then (`ERR_SESSION_GONE`).
 * - The function may read and change the session, but must not call `exclusive` with the same key: it would wait for itself.
 *
 * It costs one load and one save before the function, and one save after it. A waiting request costs one load each time it checks.
 *
 * @param session The session of the request; it begins if there is none
 * @param key The key of the value
 * @param fn Gets the stored value, and returns the value to store; undefined removes it
 * @param options The lease
 * @returns The value that is stored under the key
 * @throws {TypeError} If the key is not a string or `fn` not a function, the store cannot compare and set, or sessions are kept in cookies
 * @throws {RangeError} If the lease is not a positive number of seconds
 * @throws {SessionError} `ERR_CONFLICT` if the function took longer than the lease and another request has taken over;
 *   `ERR_SESSION_GONE`, `ERR_NOT_SERIALIZABLE`, `ERR_SCHEMA`, `ERR_STORE`, `ERR_STORE_TIMEOUT`; and any error that the
 *   function throws
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { exclusive } from "with-session/exclusive";
 *
 * interface Tokens {
 *   readonly access: string;
 *   readonly refresh: string;
 * }
 *
 * async function exchange(tokens: Tokens | undefined): Promise<Tokens> {
 *   const response = await fetch("https://login.example/token", { method: "POST", body: `refresh_token=${tokens?.refresh}` });
 *   if (!response.ok) throw new Error(`The identity provider answered ${response.status}`);
 *   return (await response.json()) as Tokens;
 * }
 *
 * export const handler = withSession<{ tokens: Tokens }>(async (_request, session) => {
 *   const { access } = (await exclusive(session, "tokens", exchange, { lease: 10 })) ?? {};
 *   return new Response(access);
 * });
 * ```
 */
export function exclusive<Data extends object = DefaultData, Key extends KeyOf<Data> = KeyOf<Data>>(
  session: Session<Data>,
  key: Key,
  fn: (value: Data[Key] | undefined) => Data[Key] | undefined | Promise<Data[Key] | undefined>,
  options: ExclusiveOptions = {},
): Promise<Data[Key] | undefined> {
  assertKnown(options, ["lease"], "exclusive");
  const { lease = 30 } = options;
  assertDuration("exclusive: lease", lease);
  if (typeof key !== "string" || typeof fn !== "function") throw new TypeError("exclusive needs a key and a function");
  const internals = internalsOf(session);
  return internals.track(run(internals, key, fn as (value: unknown) => unknown, lease)) as Promise<
    Data[Key] | undefined
  >;
}

async function run(
  internals: SessionInternals,
  key: string,
  fn: (value: unknown) => unknown,
  lease: number,
): Promise<unknown> {
  await internals.load();
  let op = await internals.operation();
  if (internals.policy.repository.tokenHoldsSession === true || !op.store.traits.compareAndSet) {
    throw new TypeError(
      "exclusive needs a store that can compare and set, such as Redis, a database or a Durable Object",
    );
  }
  // The quotes of JSON keep it different from the field that holds an encrypted record. The words of the field are: the
  // name of the run whose result is stored, the name of the run that holds the lease, the instant at which the lease
  // ends, and its length in seconds.
  const field = CAPABILITY + JSON.stringify(key);
  const wordsOf = (text = ""): string[] => text.split(" ");
  const [seen = ""] = wordsOf(internals.found?.fields.get(field));
  const own = createWriteId();
  let since = performance.now();
  let watched = "";
  for (;;) {
    if (internals.found) await internals.refresh();
    let holder = "";
    const value = await internals.update(key, (value, fields) => {
      const [result, other = "", until, seconds] = wordsOf(fields.get(field));
      if (other !== watched) since = performance.now();
      watched = other;
      // The lease has ended if its end has passed by every server's clock, or if this request has seen it for its whole
      // length.
      const isOver =
        internals.policy.now() > Number(until) + CLOCK_SKEW || performance.now() - since >= Number(seconds) * 1000;
      holder = result !== seen ? "nobody" : other === "" || isOver ? own : other;
      if (holder === own) fields.set(field, `${seen} ${own} ${internals.policy.now() + lease * 1000} ${lease}`);
      return value;
    });
    if (holder === "nobody") return value;
    if (holder === own) return await hold(value);
    try {
      await op.backOff();
    } catch {
      op = await internals.operation();
    }
  }

  async function hold(value: unknown): Promise<unknown> {
    const put = async (text: string, change: (value: unknown) => unknown): Promise<unknown> => {
      // After `destroy` in the function, an update would begin a session, or change the one that has begun since.
      if (internals.found?.fields.has(field) !== true)
        throw new SessionError("ERR_SESSION_GONE", "Cannot store the result: the session has ended");
      return await internals.update(key, (value, fields) => {
        const [stored, holder] = wordsOf(fields.get(field));
        // An earlier attempt has stored the result, although the store answered otherwise.
        if (stored === own) return value;
        if (holder !== own)
          throw new SessionError(
            "ERR_CONFLICT",
            "Cannot store the result: its function took longer than the lease, and another request has taken over",
          );
        fields.set(field, text);
        return change(value);
      });
    };
    let putResult: (() => Promise<unknown>) | undefined;
    try {
      const result = await fn(value);
      putResult = () => put(own, () => result);
      return await putResult();
    } catch (error) {
      // The effect has happened. Without its result, the next request would cause it again.
      if (putResult !== undefined && mayRetry(error)) {
        return await putResult().catch(() => {
          throw error;
        });
      }
      // This ends the lease. If that fails, the lease ends by itself, and the caller learns why the function failed.
      await put(seen, (value) => value).catch(() => {});
      throw error;
    }
  }
}

/** Whether another attempt may succeed: the store failed, or other requests kept changing the session. */
function mayRetry(error: unknown): boolean {
  return isOutage(error) || (isSessionError(error) && error.code === "ERR_CONFLICT");
}
