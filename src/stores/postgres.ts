/**
 * Sessions in PostgreSQL.
 *
 * @module
 */
import type { SessionStore } from "../core/store.ts";
import { postgresSchema } from "./sql/schema.ts";
import {
  detailOf,
  type ErrorMeaning,
  hasMethod,
  sqlStore,
  type SqlValue,
  standardStatements,
  SWEEP_BATCH,
} from "./sql/sql_store.ts";
import { type SqlStoreOptions, tableOf } from "./sql/table.ts";

export { type SqlDialect, sqlSchema } from "./sql/schema.ts";
export type { SqlValue } from "./sql/sql_store.ts";
export type { SqlStoreOptions } from "./sql/table.ts";

/** A client of PostgreSQL. It is recognised by its methods. */
export type PostgresClient =
  /** A `Pool` or `Client` of `pg`, `neon()` of `@neondatabase/serverless`, or a `PGlite`. */
  | { query(statement: string, values: SqlValue[]): Promise<unknown> }
  /** `postgres()` of postgres.js, or Bun's `SQL`. */
  | { unsafe(statement: string, values: SqlValue[], options?: { prepare?: boolean }): PromiseLike<unknown> };

/**
 * Keeps sessions in a table of PostgreSQL.
 *
 * ## Setup
 * PostgreSQL 9.5 or newer (tested on 15), and the client that the program already uses: `pg`, postgres.js,
 * `@neondatabase/serverless`, PGlite or Bun's `SQL`. The first call creates the table if it is missing. If the database
 * user must not create tables, run the statements that {@linkcode sqlSchema} prints in a migration.
 *
 * Behind PgBouncer in transaction mode, `pg` needs no setting, because the statements have no names. Open postgres.js
 * with `prepare: false` there, as its documentation says.
 *
 * Open postgres.js with `fetch_types: false`. Otherwise it asks for the types of arrays when it connects, and a
 * connection that is reset meanwhile ends the process. Give the store a separate client if your own queries need arrays.
 *
 * Listen to the event `error` of a `pg` pool: without a listener, `pg` ends the process when an idle connection breaks.
 *
 * ## How expiry behaves
 * PostgreSQL keeps expired rows until `prune()` of the manager deletes them. Call it now and then, for example once an hour. It deletes
 * rows in batches of 1 000, skips rows that another statement has locked, and never deletes a row that was just extended.
 *
 * ## Key format
 * The column `key` holds 64 hexadecimal digits. Give each application its own `table`.
 *
 * ## Consistency
 * Strong, with compare-and-set, as long as the client reaches the primary. A read-only replica shows old sessions. A
 * failover to a replica that had not received the last writes loses them: use `synchronous_commit` with a synchronous
 * standby if that matters. Each verb is one statement in one round trip. Only a `delete` that meets a changed row needs
 * two. `REPEATABLE READ` and `SERIALIZABLE` as default isolation levels are allowed. If the program opens a transaction
 * on a single `Client`, `ROLLBACK` also undoes a session that was stored or ended meanwhile: pass a pool.
 *
 * ## Limits
 * A record has at most 1 MiB.
 *
 * @param client A pool or a client that is connected. The store never closes it
 * @param options The table's name and schema. Default: `sessions`, where the connection's `search_path` looks first
 * @returns The store. Its `save` throws `ERR_RECORD_TOO_LARGE` before any I/O, and a `StoreBusyError` after a deadlock
 *   or while the server has no free connection. An answer that it does not understand is an `ERR_STORE`
 * @throws {TypeError} If the client has neither `query` nor `unsafe`, an option is unknown, or a name has other characters than letters,
 *   digits and underscores
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { postgresStore } from "with-session/stores/postgres";
 * import { Pool } from "pg";
 *
 * const pool = new Pool({ connectionString: "postgres://localhost/shop" });
 * pool.on("error", console.error);
 * export const handler = withSession(
 *   async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *   { store: postgresStore(pool) },
 * );
 * ```
 */
export function postgresStore(client: PostgresClient, options: SqlStoreOptions = {}): SessionStore {
  const table = tableOf(options, "postgresStore");
  const { name } = table;
  const query = queryOf(client);
  return sqlStore({
    owner: "postgresStore",
    schema: postgresSchema(table),
    statements: {
      ...standardStatements(table),
      // PostgreSQL checks the outer condition again on a row that another statement has just extended; the inner one is
      // not.
      sweep:
        `DELETE FROM ${name} WHERE expires_at < ? AND key = ANY(ARRAY(SELECT key FROM ${name} WHERE expires_at < $1 ` +
        `LIMIT ${SWEEP_BATCH} FOR UPDATE SKIP LOCKED)) RETURNING 1 AS done`,
    },
    async run(statement, values) {
      let parameter = 0;
      const answer = await query(
        statement.replace(/\?/g, () => `$${++parameter}`),
        values,
      );
      // Neon and postgres.js return the rows. Other clients return an object that has them.
      return Array.isArray(answer) ? answer : detailOf(answer, "rows");
    },
    // Bun's SQL has SQLSTATE in `errno`, and one `code` for all errors of the server.
    meaningOf: (error) => MEANINGS.get(detailOf(error, "code")) ?? MEANINGS.get(detailOf(error, "errno")),
  });
}

/** The meaning of SQLSTATE codes (https://www.postgresql.org/docs/current/errcodes-appendix.html). */
const MEANINGS: ReadonlyMap<unknown, ErrorMeaning> = new Map<unknown, ErrorMeaning>([
  // undefined_table
  ["42P01", "missing"],
  // serialization_failure: under REPEATABLE READ and SERIALIZABLE, another write came first
  ["40001", "conflict"],
  // deadlock_detected, lock_not_available, too_many_connections, cannot_connect_now
  ["40P01", "busy"],
  ["55P03", "busy"],
  ["53300", "busy"],
  ["57P03", "busy"],
]);

function queryOf(client: PostgresClient): (statement: string, values: SqlValue[]) => PromiseLike<unknown> {
  // Neon has a method `unsafe` as well, which does something else.
  if (hasMethod(client, "query")) return (statement, values) => client.query(statement, values);
  // postgres.js asks the server for the types of the parameters before each statement that has no name. It gives names unless it was
  // opened with `prepare: false`.
  if (hasMethod(client, "unsafe")) {
    return async (statement, values) => {
      try {
        return await client.unsafe(statement, values, { prepare: true });
      } catch (error) {
        // postgres.js reports a reset before it knows that the connection has ended. A query that begins in between is
        // never answered, and neither is any later one on this connection.
        if (detailOf(error, "syscall") !== undefined) await new Promise((resolve) => setTimeout(resolve));
        throw error;
      }
    };
  }
  throw new TypeError(
    "postgresStore: the client must be one of pg, postgres.js, Neon or PGlite; is it undefined, a promise, or an address?",
  );
}
