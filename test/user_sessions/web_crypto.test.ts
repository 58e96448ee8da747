import { afterAll, expect, test, vi } from "vitest";

// This must run before any import that uses Node's crypto.
const original = process.getBuiltinModule;
Object.assign(process, { getBuiltinModule: undefined });
vi.resetModules();
const { SessionManager } = await import("../../mod.ts");
const { userSessions } = await import("../../src/user_sessions.ts");
const { exclusive } = await import("../../src/exclusive.ts");
const { nodeCrypto } = await import("../../src/core/hash.ts");

afterAll(() => void Object.assign(process, { getBuiltinModule: original }));

test("users' sessions and exclusive() do their work with WebCrypto alone", async () => {
  expect(nodeCrypto()).toBeNull();
  let version = 1;
  const users = userSessions<{ sid: string }>({
    limit: 2,
    credentialVersion: () => version,
    indexes: { sid: ({ sid }) => sid },
  });
  const sessions = new SessionManager<{ n?: number }>({ plugins: [users] });
  const ids: string[] = [];
  for (const sid of ["a", "b", "c"]) {
    const session = sessions.open("");
    await users.bind(session, "ada", { sid });
    await session.save();
    await session.regenerate();
    await session.save();
    ids.push(String(await session.id()));
  }
  expect((await users.list("ada")).map(({ metadata }) => metadata.sid)).toEqual(["c", "b"]);
  expect((await sessions.open(ids[0]!).info()).ended).toBe("revoked");
  expect(await exclusive(sessions.open(ids[1]!), "n", (n = 0) => n + 1)).toBe(1);
  expect(await users.revokeBy("sid", "b")).toBe(1);
  version = 2;
  expect((await sessions.open(ids[2]!).info()).ended).toBe("credentials");
  version = 1;
  expect(await users.revokeAll("ada", { except: sessions.open(ids[2]!) })).toBe(0);
  expect(await users.revokeAll("ada")).toBe(1);
});
