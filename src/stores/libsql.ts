/**
 * Sessions in libSQL and Turso.
 *
 * @module
 */
import type { SessionStore } from "../core/store.ts";
import { onceInTurn } from "./sql/once_in_turn.ts";
import { isLocked, sqliteEngine } from "./sql/sqlite_engine.ts";
import { detailOf, hasMethod, sqlStore, type SqlValue, standardStatements } from "./sql/sql_store.ts";
import { type SqlStoreOptions, tableOf } from "./sql/table.ts";

export { type SqlDialect, sqlSchema } from "./sql/schema.ts";
export type { SqlValue } from "./sql/sql_store.ts";
export type { SqlStoreOptions } from "./sql/table.ts";

/** A client of libSQL: `createClient()` of `@libsql/client`. */
export interface LibsqlClient {
  /** Runs a statement. Its `rows` are the rows. */
  execute(statement: { sql: string; args: SqlValue[] }): Promise<unknown>;
  /** `"file"` for a local database. */
  readonly protocol?: string;
  /** Closes all connections, and opens new ones when they are needed. */
  reconnect?(): unknown;
}

/**
 * Keeps sessions in a table of libSQL: Turso, a libSQL server, or a local file.
 *
 * ## Setup
 * A client of `@libsql/client`. The first call creates the table if it is missing. {@linkcode sqlSchema} with `"sqlite"` prints the statements
 * for a migration. For a local file that several processes share, give the store a separate client, and let it wait for the locks of other connections:
 * `createClient({ url: "file:…", timeout: 5000 })`.
 *
 * ## How expiry behaves
 * libSQL keeps expired rows until `prune()` of the manager deletes them. Call it now and then, for example once an hour. It deletes rows in
 * batches of 1 000, and never one that was just extended.
 *
 * ## Key format
 * The column `key` holds 64 hexadecimal digits. Give each application its own `table`.
 *
 * ## Consistency
 * Strong, with compare-and-set, on a server's primary and on a local file. An embedded replica (`syncUrl`) reads from
 * its own file, which may be older than the primary: use a client without one for sessions. Each verb is one statement
 * in one round trip. Only a `delete` that meets a changed row needs two. A call that finds a local file locked for
 * longer than the client waits throws a `StoreBusyError`, and the core tries it again within `storeTimeout`. The store
 * then makes the client reconnect, because a local client of libSQL does not end a statement that met a lock.
 * Transactions that the program has open on this client are rolled back.
 *
 * ## Limits
 * A record has at most 1 MiB.
 *
 * @param client A client of `@libsql/client`. The store never closes it
 * @param options The table's name, and an attached database as `schema`. Default: `sessions`, in the main database
 * @returns The store. Its `save` throws `ERR_RECORD_TOO_LARGE` before any I/O. An answer that it does not understand is
 *   an `ERR_STORE`
 * @throws {TypeError} If the client has no `execute`, an option is unknown, or a name has other characters than letters, digits and underscores
 *
 * @example
 * ```ts
 * import { createClient } from "@libsql/client";
 * import { withSession } from "with-session";
 * import { libsqlStore } from "with-session/stores/libsql";
 *
 * const client = createClient({ url: "file:sessions.db", timeout: 5000 });
 * export const handler = withSession(
 *   async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *   { store: libsqlStore(client) },
 * );
 * ```
 */
export function libsqlStore(client: LibsqlClient, options: SqlStoreOptions = {}): SessionStore {
  if (!hasMethod(client, "execute")) {
    throw new TypeError(
      "libsqlStore: the client must be one of @libsql/client; is it undefined, a promise, or an address?",
    );
  }
  const table = tableOf(options, "libsqlStore");
  const store = sqlStore(
    sqliteEngine({
      owner: "libsqlStore",
      table,
      statements: standardStatements(table),
      async run(sql, values) {
        try {
          return detailOf(await client.execute({ sql, args: values }), "rows");
        } catch (error) {
          // libsql 0.5 never ends a statement that met a lock. Until the garbage collector ends it, the connection
          // commits none of the writes that it acknowledges, and locks out all other connections.
          if (client.protocol === "file" && isLocked(error)) await client.reconnect?.();
          throw error;
        }
      },
    }),
  );
  return onceInTurn(store);
}
