import { type SqlStoreOptions, type Table, tableOf } from "./table.ts";

/**
 * The statements that create the table of PostgreSQL. Keys are compared byte by byte, which needs no collation of a
 * language.
 */
export function postgresSchema({ name, index }: Table): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${name} (
  key text COLLATE "C" PRIMARY KEY,
  value bytea NOT NULL,
  version text NOT NULL,
  expires_at bigint NOT NULL
)`,
    `CREATE INDEX IF NOT EXISTS ${index} ON ${name} (expires_at)`,
  ];
}

/**
 * The statement that creates the table of MySQL. Its texts are bytes, because a collation would take `abc`, `Abc` and
 * `Ábc` for one key.
 */
export function mysqlSchema({ name, index }: Table): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${name} (
  \`key\` varbinary(255) PRIMARY KEY,
  value mediumblob NOT NULL,
  version varbinary(255) NOT NULL,
  expires_at bigint NOT NULL,
  INDEX ${index} (expires_at)
) ENGINE = InnoDB`,
  ];
}

/** The statements that create the table of SQLite, D1 and libSQL. */
export function sqliteSchema({ name, alone, index, place }: Table): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${name} (
  key text PRIMARY KEY NOT NULL,
  value blob NOT NULL,
  version text NOT NULL,
  expires_at integer NOT NULL
) STRICT`,
    `CREATE INDEX IF NOT EXISTS ${place}${index} ON ${alone} (expires_at)`,
  ];
}

/** The dialect of SQL that a table is created in. `"sqlite"` is also for D1 and libSQL. */
export type SqlDialect = "postgres" | "mysql" | "sqlite";

/**
 * Prints the statements that create the table of the sessions, for a migration. The stores run the same statements when the table is
 * missing, so a program needs them only if its database user must not create tables.
 *
 * @param dialect `"postgres"`, `"mysql"` (also MariaDB) or `"sqlite"` (also D1 and libSQL)
 * @param options The same names as the store has. Default: the table `sessions`
 * @returns The statements, each with a semicolon and a line break at its end. Running them twice changes nothing
 * @throws {TypeError} If the dialect or an option is unknown, or a name has characters other than letters, digits and underscores
 *
 * @example
 * ```ts
 * import { sqlSchema } from "with-session/stores/postgres";
 *
 * const migration = sqlSchema("postgres", { table: "shop_sessions" });
 * migration.startsWith('CREATE TABLE IF NOT EXISTS "shop_sessions"');
 * ```
 */
export function sqlSchema(dialect: SqlDialect, options: SqlStoreOptions = {}): string {
  const schemas = { postgres: postgresSchema, mysql: mysqlSchema, sqlite: sqliteSchema };
  if (!Object.hasOwn(schemas, dialect)) throw new TypeError("sqlSchema: the dialect must be postgres, mysql or sqlite");
  const table = tableOf(options, "sqlSchema", dialect === "mysql" ? "`" : '"');
  return `${schemas[dialect](table).join(";\n")};\n`;
}
