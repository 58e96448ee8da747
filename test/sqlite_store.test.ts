import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { SessionManager } from "with-session";
import { cookieJar, storeCases } from "with-session/testing";
import example, { sqliteStore } from "../examples/sqlite_store.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "with-session-sqlite-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

for (const place of ["in memory", "on a file"]) {
  describe(`sqliteStore() ${place}`, () => {
    for (const { name, run } of storeCases()) {
      test(name, () =>
        run(() => {
          const database = new DatabaseSync(place === "in memory" ? ":memory:" : join(folder, "kit.db"));
          const close = () => {
            if (database.isOpen) database.close();
          };
          return { store: sqliteStore(database), fail: close, close };
        }),
      );
    }
  });
}

test("sqliteStore() says whether records outlive the process, and whether others see them", () => {
  expect(sqliteStore(new DatabaseSync(":memory:")).traits).toMatchObject({ persistent: false, shared: false });
  const onFile = sqliteStore(new DatabaseSync(join(folder, "traits.db")));
  expect(onFile.traits).toMatchObject({ persistent: true, shared: true });
});

test("sqliteStore() counts what four processes add 250 times each", async () => {
  const file = join(folder, "increments.db");
  const sessions = new SessionManager<Record<string, number>>({ store: sqliteStore(new DatabaseSync(file)) });
  const session = sessions.start(new Request("http://localhost/"));
  const id = await session.start();
  await session.save();
  const args = [`${import.meta.dirname}/sqlite_store.worker.ts`, file, id, "250"];
  await Promise.all([1, 2, 3, 4].map(() => promisify(execFile)(process.execPath, args)));
  const { count, ...own } = await sessions.open(id).all();
  expect(count).toBe(1000);
  expect(Object.values(own)).toEqual([250, 250, 250, 250]);
}, 60_000);

test("sqlite_store.ts counts visits when a client keeps its cookie", async () => {
  vi.stubEnv("SESSION_DB", join(folder, "visits.db"));
  const jar = cookieJar();
  const visit = async () => (await jar.fetch(example.fetch, "https://shop.example/")).text();
  expect([await visit(), await visit()]).toEqual(["Visit 1\n", "Visit 2\n"]);
});
