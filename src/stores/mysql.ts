/**
 * Sessions in MySQL and MariaDB.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { SessionStore } from "../core/store.ts";
import { detailOf, type ErrorMeaning, hasMethod, sqlStore, type SqlValue, SWEEP_BATCH } from "./sql/sql_store.ts";
import { type SqlStoreOptions, tableOf } from "./sql/table.ts";
import { mysqlSchema } from "./sql/schema.ts";

export { type SqlDialect, sqlSchema } from "./sql/schema.ts";
export type { SqlValue } from "./sql/sql_store.ts";
export type { SqlStoreOptions } from "./sql/table.ts";

/** A pool or a connection of `mysql2/promise`. */
export interface MysqlClient {
  /** Runs a prepared statement, and returns a list of the result and its columns. */
  execute(statement: string, values: SqlValue[]): Promise<readonly unknown[]>;
}

/**
 * Keeps sessions in a table of MySQL or MariaDB.
 *
 * ## Setup
 * MySQL 5.7 or MariaDB 10.2 or newer (tested on MariaDB 10.11), and a pool of `mysql2/promise`. The first call creates
 * the table if it is missing. If the database user must not create tables, run the statements that
 * {@linkcode sqlSchema} prints in a migration.
 *
 * ## How expiry behaves
 * The database keeps expired rows until `prune()` of the manager deletes them. Call it now and then, for example once an hour. It deletes
 * rows in batches of 1 000, and never one that was just extended.
 *
 * ## Key format
 * The column `key` holds 64 hexadecimal digits. Give each application its own `table`.
 *
 * ## Consistency
 * Strong, with compare-and-set, as long as the client reaches the primary. A read-only replica shows old sessions. Each
 * verb is one prepared statement in one round trip, after the first of its kind on a connection. Two are needed to
 * create a session whose id is in use, and to delete one that has changed. The flags, the character set and the
 * isolation level of the pool do not matter. If the program opens a transaction on a single connection, `ROLLBACK` also
 * undoes a session that was stored or ended meanwhile: pass a pool.
 *
 * ## Limits
 * A record has at most 1 MiB. A server whose `max_allowed_packet` is smaller accepts less.
 *
 * @param pool A pool or a connection of `mysql2/promise`. The store never closes it
 * @param options The table's name, and the database as `schema`. Default: `sessions`, in the database of the connection
 * @returns The store. Its `save` throws `ERR_RECORD_TOO_LARGE` before any I/O, and a `StoreBusyError` after a deadlock,
 *   a lock that was not free in time, or while the server has no free connection. An answer that it does not understand
 *   is an `ERR_STORE`
 * @throws {TypeError} If the pool is not one of `mysql2/promise`, an option is unknown, or a name has other characters than letters,
 *   digits and underscores
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { mysqlStore } from "with-session/stores/mysql";
 * import { createPool } from "mysql2/promise";
 *
 * const pool = createPool("mysql://localhost/shop");
 * export const handler = withSession(
 *   async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *   { store: mysqlStore(pool) },
 * );
 * ```
 */
export function mysqlStore(pool: MysqlClient, options: SqlStoreOptions = {}): SessionStore {
  if (!hasMethod(pool, "execute") || hasMethod(pool, "promise")) {
    throw new TypeError(
      "mysqlStore: the pool must be one of mysql2/promise; is it undefined, or does it need .promise()?",
    );
  }
  const table = tableOf(options, "mysqlStore", "`");
  const { name } = table;
  const condition = "WHERE `key` = ?";
  const insert = `INSERT INTO ${name} (\`key\`, value, version, expires_at) VALUES (?, ?, ?, ?)`;
  const replaceExpired = `UPDATE ${name} SET value = ?, version = ?, expires_at = ? ${condition} AND expires_at < ?`;

  async function run(statement: string, values: SqlValue[]): Promise<unknown> {
    const result = detailOf(await pool.execute(statement, values), "0");
    const count = detailOf(result, "affectedRows");
    return typeof count === "number" ? Array.from({ length: count }, () => ({ done: 1 })) : result;
  }

  return sqlStore({
    owner: "mysqlStore",
    schema: mysqlSchema(table),
    statements: {
      load: `SELECT value, version FROM ${name} ${condition}`,
      create: insert,
      // The version always changes, so the number of rows that were found is the number of rows that were changed. The
      // pool may count either.
      update: `UPDATE ${name} SET value = ?, version = ?, expires_at = ? ${condition} AND version = ?`,
      remove: `DELETE FROM ${name} ${condition}`,
      removeVersion: `DELETE FROM ${name} ${condition} AND version = ?`,
      sweep: `DELETE FROM ${name} WHERE expires_at < ? ORDER BY expires_at LIMIT ${SWEEP_BATCH}`,
    },
    // mysql2 accepts bytes only as a Buffer.
    encode: (_text, bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    async run(statement, values) {
      if (statement !== insert) return await run(statement, values);
      const [key, row, now] = [values.slice(0, 1), values.slice(1, 4), values.slice(4)];
      // Not ON DUPLICATE KEY UPDATE: with the flag FOUND_ROWS, which mysql2 sets, it returns the same for a new row and
      // for a row that it did not change.
      return await run(statement, [...key, ...row]).catch((error: unknown) => {
        if (detailOf(error, "errno") !== DUPLICATE) throw error;
        return run(replaceExpired, [...row, ...key, ...now]);
      });
    },
    meaningOf: (error) => MEANINGS.get(detailOf(error, "errno")),
  });
}

/** ER_DUP_ENTRY */
const DUPLICATE = 1062;

/** The meaning of errors (https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html). */
const MEANINGS: ReadonlyMap<unknown, ErrorMeaning> = new Map<unknown, ErrorMeaning>([
  // ER_NO_SUCH_TABLE
  [1146, "missing"],
  // ER_LOCK_DEADLOCK, ER_LOCK_WAIT_TIMEOUT, ER_CON_COUNT_ERROR
  [1213, "busy"],
  [1205, "busy"],
  [1040, "busy"],
]);
