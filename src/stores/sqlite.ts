/**
 * Sessions in SQLite.
 *
 * @module
 */
import { StoreBusyError } from "../core/errors.ts";
import type { SessionStore } from "../core/store.ts";
import { onceInTurn } from "./sql/once_in_turn.ts";
import { sqliteEngine } from "./sql/sqlite_engine.ts";
import { detailOf, hasMethod, sqlStore, type SqlValue, standardStatements } from "./sql/sql_store.ts";
import { type SqlStoreOptions, tableOf } from "./sql/table.ts";

export { type SqlDialect, sqlSchema } from "./sql/schema.ts";
export type { SqlValue } from "./sql/sql_store.ts";
export type { SqlStoreOptions } from "./sql/table.ts";

/** A database of SQLite. It is recognised by its methods. */
export interface SqliteDatabase {
  /** Runs statements without parameters. */
  exec(statements: string): unknown;
  /** Prepares a statement. Its `all` returns the rows at once. */
  prepare(statement: string): { all(...values: SqlValue[]): unknown };
}

/** In milliseconds. The driver blocks the event loop while it waits, so the core's retries do the longer waiting. */
const BUSY_TIMEOUT = 500;

/**
 * Keeps sessions in a table of SQLite, in a file that any number of processes of one machine may share.
 *
 * ## Setup
 * SQLite 3.37 or newer through `node:sqlite` of Node (22.13 or newer) or Deno, `better-sqlite3`, or `bun:sqlite`. The first call creates the
 * table if it is missing. Turn on write-ahead logging with `PRAGMA journal_mode = WAL`, so that readers and a writer do not wait for each
 * other. A connection that does not wait at all for the locks of others is set to wait up to half a second (`PRAGMA busy_timeout`).
 *
 * ## How expiry behaves
 * SQLite keeps expired rows until `prune()` of the manager deletes them. Call it now and then, for example once an hour. It deletes rows in
 * batches of 1 000, and never one that was just extended.
 *
 * ## Key format
 * The column `key` holds 64 hexadecimal digits. Give each application its own `table`.
 *
 * ## Consistency
 * Strong, with compare-and-set, among all processes that have opened the file. Calls return at once, without a promise.
 * Only a second write of one record waits for the next turn of the event loop, so that the writes of other requests are
 * stored with it, and other processes get the file's lock.
 * A call that finds the file locked for longer than the connection waits throws a `StoreBusyError`, and the core tries
 * it again within `storeTimeout`. So does a write while the program has a transaction open on this database, because
 * `ROLLBACK` would undo it: open another connection for the store. `PRAGMA synchronous` decides which writes survive a power failure: with write-ahead
 * logging, only `FULL` keeps the last writes.
 *
 * ## Limits
 * A record has at most 1 MiB. The file must be on a local disk (https://sqlite.org/useovernet.html).
 *
 * @param database The open database. The store never closes it
 * @param options The table's name, and an attached database as `schema`. Default: `sessions`, in the main database
 * @returns The store. Its `save` throws `ERR_RECORD_TOO_LARGE` before any I/O. An answer that it does not understand is
 *   an `ERR_STORE`
 * @throws {TypeError} If the database has no `exec` and `prepare`, an option is unknown, or a name has other characters than letters, digits
 *   and underscores
 *
 * @example
 * ```ts
 * import { DatabaseSync } from "node:sqlite";
 * import { withSession } from "with-session";
 * import { sqliteStore } from "with-session/stores/sqlite";
 *
 * const database = new DatabaseSync(":memory:");
 * export const handler = withSession(
 *   async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *   { store: sqliteStore(database) },
 * );
 * ```
 */
export function sqliteStore(database: SqliteDatabase, options: SqlStoreOptions = {}): SessionStore {
  if (!hasMethod(database, "prepare") || !hasMethod(database, "exec")) {
    throw new TypeError(
      "sqliteStore: the database must be one of node:sqlite, better-sqlite3 or bun:sqlite; is it undefined, or the path of a file?",
    );
  }
  const table = tableOf(options, "sqliteStore");
  const prepared = new Map<string, ReturnType<SqliteDatabase["prepare"]>>();

  function statementOf(statement: string): ReturnType<SqliteDatabase["prepare"]> {
    const known = prepared.get(statement);
    if (known !== undefined) return known;
    // The default of Node, Deno and Bun is to fail at once while another process writes.
    const wait = detailOf(detailOf(database.prepare("PRAGMA busy_timeout").all(), "0"), "timeout");
    if (wait === 0) database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT}`);
    const fresh = database.prepare(statement);
    prepared.set(statement, fresh);
    return fresh;
  }

  const store = sqlStore(
    sqliteEngine({
      owner: "sqliteStore",
      table,
      statements: standardStatements(table),
      run(statement, values) {
        // A write would become a part of the transaction, and be lost with it, although the request has an answer.
        if (!statement.startsWith("SELECT") && isInTransaction(database)) throw new StoreBusyError();
        try {
          return values.length === 0 ? database.exec(statement) : statementOf(statement).all(...values);
        } catch (error) {
          // After a connection was closed and opened again, its old statements would always fail.
          prepared.clear();
          throw error;
        }
      },
    }),
  );
  return onceInTurn(store);
}

/** Whether the program has a transaction open: `isTransaction` of Node and Deno, `inTransaction` of the other clients. */
function isInTransaction(database: SqliteDatabase): boolean {
  return detailOf(database, "isTransaction") === true || detailOf(database, "inTransaction") === true;
}
