/**
 * Sessions in Cloudflare D1.
 *
 * @module
 */
import type { SessionStore } from "../core/store.ts";
import { sqliteEngine } from "./sql/sqlite_engine.ts";
import { detailOf, hasMethod, sqlStore, type SqlValue, standardStatements } from "./sql/sql_store.ts";
import { type SqlStoreOptions, tableOf } from "./sql/table.ts";

export { type SqlDialect, sqlSchema } from "./sql/schema.ts";
export type { SqlValue } from "./sql/sql_store.ts";
export type { SqlStoreOptions } from "./sql/table.ts";

/** A binding of Cloudflare D1, or the result of its `withSession()`. */
export interface D1Client {
  /** Prepares a statement. */
  prepare(statement: string): D1Statement;
}

/** A prepared statement of D1. */
export interface D1Statement {
  /** The statement with its parameters. */
  bind(...values: SqlValue[]): D1Statement;
  /** Runs the statement. Its `results` are the rows. */
  all(): Promise<unknown>;
}

/**
 * Keeps sessions in a table of Cloudflare D1.
 *
 * ## Setup
 * A binding of a D1 database. The first call creates the table if it is missing. {@linkcode sqlSchema} with `"sqlite"` prints the statements
 * for a migration.
 *
 * ## How expiry behaves
 * D1 keeps expired rows until `prune()` of the manager deletes them. Call it from a cron trigger, for example once an hour. It deletes rows in
 * batches of 1 000, and never one that was just extended.
 *
 * ## Key format
 * The column `key` holds 64 hexadecimal digits. Give each application its own `table`.
 *
 * ## Consistency
 * Strong, with compare-and-set: all statements of a binding run on the primary, also if the database has read replicas
 * (https://developers.cloudflare.com/d1/best-practices/read-replication/). Each verb is one statement in one round trip. Only a `delete`
 * that meets a changed row needs two.
 *
 * D1's Sessions API reads from a replica near the user. Pass `env.DB.withSession(bookmark)` for it, where the bookmark
 * comes from the user's last request. Its reads are never older than the bookmark, but they may be older than writes of
 * other requests since then: if another device ended this session, a request may still find it for a while, and the
 * `revokeAll` of user sessions may miss a session that has just begun. The traits then say `"eventual"`. Writes still
 * compare and set on the primary, so no update is lost. A store is opened once for each first argument of the handler, so
 * pass a new `env` with each request: `handler(request, { ...env, DB: env.DB.withSession(bookmark) })`.
 *
 * ## Limits
 * A record has at most 1 MiB; D1 accepts rows of 2 MB (https://developers.cloudflare.com/d1/platform/limits/). D1 has one writer at a
 * time, and its errors have no codes: a write that an overloaded database refuses is not tried again.
 *
 * @param database The binding, or the result of its `withSession()`
 * @param options The table's name. Default: `sessions`
 * @returns The store. Its `save` throws `ERR_RECORD_TOO_LARGE` before any I/O. An answer that it does not understand is
 *   an `ERR_STORE`
 * @throws {TypeError} If the binding is missing, an option is unknown, or a name has other characters than letters, digits and underscores
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { type D1Client, d1Store } from "with-session/stores/d1";
 *
 * export default {
 *   fetch: withSession(
 *     async (_request, session, _env: { DB: D1Client }) =>
 *       new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *     { store: (env) => d1Store(env.DB) },
 *   ),
 * };
 * ```
 */
export function d1Store(database: D1Client, options: SqlStoreOptions = {}): SessionStore {
  if (!hasMethod(database, "prepare")) {
    throw new TypeError("d1Store: the database must be a D1 binding; is it missing in the Worker's configuration?");
  }
  const table = tableOf(options, "d1Store");
  return sqlStore(
    sqliteEngine({
      owner: "d1Store",
      consistency: hasMethod<unknown, string>(database, "getBookmark") ? "eventual" : "strong",
      table,
      // D1 carries a blob as a list of numbers, which is four times as long as the text.
      statements: standardStatements(table, "CAST(? AS BLOB)", "CAST(value AS TEXT) AS value"),
      encode: (text) => text,
      async run(statement, values) {
        const prepared = database.prepare(statement);
        return detailOf(await (values.length === 0 ? prepared : prepared.bind(...values)).all(), "results");
      },
    }),
  );
}
