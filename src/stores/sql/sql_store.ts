/**
 * The common part of all SQL stores. A session is one row: `key`, `value`, which is the record's text in UTF-8 bytes,
 * `version`, which is random and new with each write, and `expires_at`, after which `prune` may delete the row.
 *
 * Each verb is one statement, so it needs no transaction and no state of the connection. Values are bytes because texts
 * are not safe: PostgreSQL refuses a NUL in a text, libSQL cuts the text there, and MySQL changes texts with the
 * character set of the connection.
 *
 * @module
 */
import { SessionError, StoreBusyError } from "../../core/errors.ts";
import { chain, type MaybePromise, recovering } from "../../core/maybe_promise.ts";
import { parseRecord, serializeRecord } from "../../core/record_text.ts";
import { assertRecordSize } from "../../core/record_size.ts";
import type { SessionStore, StoredRecord, StoreTraits } from "../../core/store.ts";
import type { Table } from "./table.ts";

/** A parameter of a statement. */
export type SqlValue = string | number | Uint8Array;

/**
 * The statements of one table, with a `?` for each parameter. A statement that writes returns a row `done` for each row
 * that it wrote.
 */
export interface Statements {
  /** Parameters: key. Returns `value` and `version`. */
  readonly load: string;
  /** Parameters: key, value, version, expires_at, now. Creates the row, or replaces one whose `expires_at` is before now. */
  readonly create: string;
  /** Parameters: value, version, expires_at, key, expected version. */
  readonly update: string;
  /** Parameters: key. */
  readonly remove: string;
  /** Parameters: key, expected version. */
  readonly removeVersion: string;
  /** Parameters: now. Deletes up to {@linkcode SWEEP_BATCH} rows. */
  readonly sweep: string;
}

/**
 * The meaning of a client's error: the table is `"missing"`; the statement has changed nothing and can be repeated
 * (`"busy"`), or it has changed nothing because of another write (`"conflict"`).
 */
export type ErrorMeaning = "missing" | "busy" | "conflict" | undefined;

/** A database, as the store needs it. */
export interface SqlEngine {
  /** The name of the factory, for messages. */
  readonly owner: string;
  readonly statements: Statements;
  /** The statements that create the table. They have no parameters. */
  readonly schema: readonly string[];
  readonly consistency?: StoreTraits["consistency"];
  /** The parameter that stands for a record; its bytes by default. */
  encode?(text: string, bytes: Uint8Array<ArrayBuffer>): SqlValue;
  /** Runs a statement, and returns its rows. The result of the statements of the schema is ignored. */
  run(statement: string, values: SqlValue[]): MaybePromise<unknown>;
  meaningOf(error: unknown): ErrorMeaning;
}

/** The largest record, in bytes. All databases accept it with their default settings: MySQL 5.7 takes packets of 4 MiB, D1 rows of 2 MB. */
const MAX_BYTES = 1_048_576;
/** The most rows that are deleted at once, so that locks are held only for milliseconds. */
export const SWEEP_BATCH = 1000;
/** Each conflict means that another write has succeeded, so more attempts are rarely needed. */
const ATTEMPTS = 5;
/** The last instant of JavaScript. Larger integers lose digits or are refused. */
const LAST_INSTANT = 8.64e15;

const toUtf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

/**
 * The statements for databases that have `RETURNING` and `ON CONFLICT`: PostgreSQL and SQLite. Clients do not agree on
 * the number of affected rows, and libSQL returns 0 after RETURNING. All of them return rows.
 *
 * @param table The table
 * @param parameter The expression that writes the value
 * @param column The expression that reads the value
 */
export function standardStatements(
  { name }: Table,
  parameter: string = "?",
  column: string = "value",
): Omit<Statements, "sweep"> {
  const where = "WHERE key = ?";
  const returning = "RETURNING 1 AS done";
  return {
    load: `SELECT ${column}, version FROM ${name} ${where}`,
    create:
      `INSERT INTO ${name} AS present (key, value, version, expires_at) VALUES (?, ${parameter}, ?, ?) ON CONFLICT (key) DO UPDATE SET ` +
      `value = excluded.value, version = excluded.version, expires_at = excluded.expires_at WHERE present.expires_at < ? ${returning}`,
    update: `UPDATE ${name} SET value = ${parameter}, version = ?, expires_at = ? ${where} AND version = ? ${returning}`,
    remove: `DELETE FROM ${name} ${where} ${returning}`,
    removeVersion: `DELETE FROM ${name} ${where} AND version = ? ${returning}`,
  };
}

/** Keeps sessions in one table. */
export function sqlStore({ owner, consistency = "strong", statements, schema, ...engine }: SqlEngine): SessionStore {
  /** Runs a statement, and creates the table if it is missing. */
  function run(statement: string, values: SqlValue[]): MaybePromise<Rows> {
    const attempt = (): MaybePromise<Rows> =>
      chain(engine.run(statement, values), (rows) => {
        if (Array.isArray(rows)) return rows;
        throw invalidAnswer();
      });
    return recovering(attempt, (error) => {
      if (engine.meaningOf(error) !== "missing") throw error;
      return createTable().then(attempt, (failure: unknown) =>
        // If two processes create the table at once, one of them can fail, and the table exists afterwards.
        recovering(attempt, () => {
          throw failure;
        }),
      );
    });
  }

  async function createTable(): Promise<void> {
    for (const statement of schema) await engine.run(statement, []);
  }

  /**
   * Runs a statement. After a conflict with another write, the result is that of `onConflict`; without it, the core
   * runs the statement again.
   */
  function execute(statement: string, values: SqlValue[], onConflict?: () => MaybePromise<Rows>): MaybePromise<Rows> {
    return recovering(
      () => run(statement, values),
      (error) => {
        const meaning = engine.meaningOf(error);
        if (meaning !== "conflict" && meaning !== "busy") throw error;
        if (meaning === "busy" || onConflict === undefined) throw new StoreBusyError();
        return onConflict();
      },
    );
  }

  /** Runs a statement that expects a version, or no row, and returns how many rows it wrote. After a conflict, no row was as expected. */
  function writeExpected(statement: string, values: SqlValue[]): MaybePromise<number> {
    return chain(
      execute(statement, values, () => []),
      countOf,
    );
  }

  /** Runs a statement that expects no version, and returns how many rows it wrote. It is run again after a conflict. */
  function writeAny(statement: string, values: SqlValue[]): MaybePromise<number> {
    const attempt = (left: number): MaybePromise<Rows> =>
      execute(statement, values, left === 0 ? undefined : () => attempt(left - 1));
    return chain(attempt(ATTEMPTS - 1), countOf);
  }

  function countOf(rows: Rows): number {
    if (rows.every((row) => detailOf(row, "done") !== undefined)) return rows.length;
    throw invalidAnswer();
  }

  function find(rows: Rows): StoredRecord | null {
    if (rows.length === 0) return null;
    const [row] = rows;
    const value = textOf(detailOf(row, "value"));
    const version = textOf(detailOf(row, "version"));
    if (value === undefined || version === undefined) throw invalidAnswer();
    const { fields, lastSeenAt } = parseRecord(value);
    return { fields, lastSeenAt, version };
  }

  function invalidAnswer(): SessionError {
    return new SessionError(
      "ERR_STORE",
      `Cannot use the store: ${owner} does not understand its client; is it a documented one?`,
    );
  }

  return {
    traits: { consistency, compareAndSet: true, maxBytes: MAX_BYTES },

    load: (key) => chain(execute(statements.load, [key]), find),

    save(key, { record, expected, expiresAt }) {
      const text = serializeRecord(record);
      const bytes = toUtf8.encode(text);
      assertRecordSize(owner, bytes.length, MAX_BYTES);
      // No version ever comes back, not even after the record was deleted and created anew.
      const version = crypto.randomUUID();
      const row: SqlValue[] = [engine.encode?.(text, bytes) ?? bytes, version, instant(expiresAt)];
      return chain(
        expected === null
          ? writeExpected(statements.create, [key, ...row, instant(record.lastSeenAt)])
          : writeExpected(statements.update, [...row, key, `${expected}`]),
        (count) => (count === 0 ? "conflict" : version),
      );
    },

    delete(key, expected) {
      if (expected === undefined) return chain(writeAny(statements.remove, [key]), () => undefined);
      return chain(writeExpected(statements.removeVersion, [key, `${expected}`]), (count) => {
        if (count > 0) return undefined;
        // Only in this case does a second statement find out whether the row is missing, which is a success, or has
        // changed.
        return chain(execute(statements.load, [key]), (rows) => (rows.length === 0 ? undefined : "conflict"));
      });
    },

    async prune(now) {
      for (let swept = 0; ;) {
        const count = await writeAny(statements.sweep, [instant(now)]);
        swept += count;
        if (count < SWEEP_BATCH) return swept;
      }
    },
  };
}

/** The rows that a statement returns. */
type Rows = readonly unknown[];

function instant(milliseconds: number): number {
  return Math.min(LAST_INSTANT, Math.ceil(milliseconds));
}

/** The text that a column holds, as a text or as UTF-8 bytes. */
function textOf(column: unknown): string | undefined {
  return typeof column === "string" ? column : isBytes(column) ? fromUtf8.decode(column) : undefined;
}

/** Whether a value is bytes, of any realm. */
function isBytes(value: unknown): value is ArrayBuffer | Uint8Array {
  return ArrayBuffer.isView(value) || `${value}` === "[object ArrayBuffer]";
}

/** Whether a client has a method. Clients are recognised by their methods, not by their class. */
export function hasMethod<Client, Name extends string>(
  client: Client,
  name: Name,
): client is Extract<Client, Record<Name, unknown>> {
  return typeof detailOf(client, name) === "function";
}

/** A property of a client, of its answer or of its error; undefined if there is none. */
export function detailOf(value: unknown, name: string): unknown {
  return Reflect.get(Object(value), name);
}
