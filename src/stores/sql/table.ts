import { assertKnown } from "../../core/known_options.ts";

/** Options of the SQL stores. */
export interface SqlStoreOptions {
  /** The table of the sessions: at most 48 letters, digits and underscores. Give each application its own. @default `"sessions"` */
  readonly table?: string | undefined;
  /**
   * The place of the table: a schema of PostgreSQL, a database of MySQL, an attached database of SQLite. It must exist.
   * By default, it is the place where the connection looks first.
   */
  readonly schema?: string | undefined;
}

/** A table, as the statements of a dialect name it. */
export interface Table {
  /** The quoted name, with the schema. */
  readonly name: string;
  /** The quoted name alone. */
  readonly alone: string;
  /** The quoted name of the index on `expires_at`. */
  readonly index: string;
  /** The quoted schema and a dot, or nothing. */
  readonly place: string;
}

/** PostgreSQL cuts names at 63 bytes, and the index has a longer name than its table. */
const NAME = /^[a-z_]\w{0,47}$/i;

/**
 * The names of a table, quoted. They are checked, because a statement cannot take a name as a parameter.
 *
 * @throws {TypeError} If a name has other characters than letters, digits and underscores, or an option is unknown
 */
export function tableOf(options: SqlStoreOptions, owner: string, quote: '"' | "`" = '"'): Table {
  assertKnown(options, ["table", "schema"], owner);
  const { table = "sessions", schema } = options;
  for (const name of [table, schema === undefined ? table : schema]) {
    if (typeof name !== "string" || !NAME.test(name)) {
      throw new TypeError(
        `${owner}: table and schema must be names of at most 48 letters, digits and underscores, no digit first`,
      );
    }
  }
  const alone = quote + table + quote;
  const place = schema === undefined ? "" : `${quote + schema + quote}.`;
  return { name: place + alone, alone, index: `${quote + table}_expires_at${quote}`, place };
}
