/**
 * A store of your own: sessions in SQLite, with compare-and-set, on Node's own `node:sqlite` (Node 22.13 or newer).
 *
 * Each write is one statement, so no other write can come in between, whichever process it is of. The names of most
 * other SQL databases' clients differ; the statements do not.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { recordFromText, recordToText, withSession } from "with-session";
import type { SessionStore, Version } from "with-session";

/**
 * Keeps sessions in one table of a SQLite database, which it creates when it is missing.
 *
 * @param database The open database. Give it a `timeout`, so that it waits for other processes that write.
 */
export function sqliteStore(database: DatabaseSync): SessionStore {
  const isFile = database.location() !== null;
  database.exec(`
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS sessions (
      key TEXT PRIMARY KEY,
      version TEXT NOT NULL,
      last_seen_at REAL NOT NULL,
      expires_at REAL NOT NULL,
      record TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires_at);
  `);
  const select = database.prepare("SELECT version, last_seen_at, record FROM sessions WHERE key = ?");
  const insert = database.prepare(
    "INSERT INTO sessions (key, version, last_seen_at, expires_at, record) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
  );
  const update = database.prepare(
    "UPDATE sessions SET version = ?, last_seen_at = ?, expires_at = ?, record = ? WHERE key = ? AND version = ?",
  );
  const move = database.prepare(
    "UPDATE sessions SET version = ?, last_seen_at = ?, expires_at = ? WHERE key = ? AND version = coalesce(?, version)",
  );
  const remove = database.prepare("DELETE FROM sessions WHERE key = ?");
  const removeVersion = database.prepare("DELETE FROM sessions WHERE key = ? AND version = ?");
  const removeExpired = database.prepare("DELETE FROM sessions WHERE expires_at < ?");

  const exists = (key: string): boolean => select.get(key) !== undefined;

  return {
    traits: {
      compareAndSet: true,
      consistency: "strong",
      persistent: isFile,
      shared: isFile,
      minTtl: 0,
      // SQLite's default limit of a text, from https://sqlite.org/limits.html, is far above what a session holds.
      maxBytes: Infinity,
    },

    async load(key) {
      const row = select.get(key);
      if (row === undefined) return null;
      const { fields } = recordFromText(row["record"]);
      return { fields, lastSeenAt: Number(row["last_seen_at"]), version: String(row["version"]) };
    },

    async create(key, record, expiresAt) {
      const version = newVersion();
      const { changes } = insert.run(key, version, record.lastSeenAt, expiresAt, recordToText(record));
      return changes === 1 ? version : "taken";
    },

    async change(key, { record }, expected, expiresAt) {
      const version = newVersion();
      const text = recordToText(record);
      const { changes } = update.run(version, record.lastSeenAt, expiresAt, text, key, String(expected));
      if (changes === 1) return version;
      return exists(key) ? "conflict" : "gone";
    },

    async touch(key, lastSeenAt, expiresAt, loaded) {
      const { changes } = move.run(newVersion(), lastSeenAt, expiresAt, key, loaded?.version ?? null);
      return changes === 1 || (exists(key) && "conflict");
    },

    async delete(key, expected) {
      if (expected === undefined) remove.run(key);
      else if (removeVersion.run(key, String(expected)).changes === 0 && exists(key)) return "conflict";
    },

    async prune(now) {
      return Number(removeExpired.run(now).changes);
    },
  };
}

/** Random, so that no version ever comes back, not even after the record was deleted and created anew. */
function newVersion(): Version {
  return crypto.randomUUID();
}

let store: SessionStore | undefined;

/** Opened once, by the first request that uses its session. */
function openStore(): SessionStore {
  const path = process.env["SESSION_DB"] ?? "sessions.db";
  return (store ??= sqliteStore(new DatabaseSync(path, { timeout: 5000 })));
}

const fetch = withSession<{ visits?: number }>(
  async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => n + 1)}\n`),
  { store: openStore },
);

export default { fetch };
