import { chain } from "../../core/maybe_promise.ts";
import { sqliteSchema } from "./schema.ts";
import { detailOf, type SqlEngine, type Statements, SWEEP_BATCH } from "./sql_store.ts";
import type { Table } from "./table.ts";

/** The parts that differ between SQLite, D1 and libSQL. */
interface SqliteClient extends Omit<SqlEngine, "statements" | "schema" | "meaningOf"> {
  readonly table: Table;
  readonly statements: Omit<Statements, "sweep">;
}

/** The primary result codes SQLITE_BUSY and SQLITE_LOCKED (https://sqlite.org/rescode.html). Extended codes have them in their lowest byte. */
const BUSY: readonly number[] = [5, 6];

/** The common part of SQLite, D1 and libSQL. */
export function sqliteEngine({ table, ...client }: SqliteClient): SqlEngine {
  const { name } = table;
  let isTableThere = false;
  return {
    ...client,
    statements: {
      ...client.statements,
      // Each statement of SQLite has the database for itself, so no row can be extended between its two halves.
      sweep: `DELETE FROM ${name} WHERE key IN (SELECT key FROM ${name} WHERE expires_at < ? LIMIT ${SWEEP_BATCH}) RETURNING 1 AS done`,
    },
    schema: sqliteSchema(table),
    run: (statement, values) =>
      chain(client.run(statement, values), (rows) => {
        isTableThere ||= values.length > 0;
        return rows;
      }),
    meaningOf(error) {
      if (isLocked(error)) return "busy";
      // SQLite has no separate code for a missing table. Until a statement has succeeded, each failure may mean that.
      return isTableThere && !isPlainError(error) ? undefined : "missing";
    },
  };
}

/** Whether SQLite could not make sense of a statement. If the statement has worked before, its table is missing now. */
function isPlainError(error: unknown): boolean {
  return (Number(detailOf(error, "errcode")) & 255) === 1 || detailOf(error, "code") === "SQLITE_ERROR";
}

/** Whether another connection held a lock. Node and Deno give the number of the error, the other clients its name. */
export function isLocked(error: unknown): boolean {
  return (
    BUSY.includes(Number(detailOf(error, "errcode")) & 255) ||
    /^SQLITE_(?:BUSY|LOCKED)/.test(String(detailOf(error, "code")))
  );
}
