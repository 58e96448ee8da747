import { expect, test } from "vitest";
import { memoryStore, type SessionEvent } from "../../mod.ts";
import { encryption } from "../../src/encryption.ts";
import { cookieJar } from "../../src/testing.ts";
import { visitor } from "../setup/sessions.ts";

test("an encrypted record is refused without its cipher, where it would look empty, and is there with it", async () => {
  const store = memoryStore();
  const jar = cookieJar();
  const events: SessionEvent[] = [];
  const withCipher = { store, encryption: encryption({ secrets: ["s".repeat(32)] }) };
  await visitor(withCipher, { jar })((session) => session.set("a", 1));
  const plain = visitor({ store, onEvent: (event) => events.push(event) }, { jar });
  const { result } = await plain(async (session) => [await session.get("a"), (await session.info()).isNew]);
  expect(result).toEqual([undefined, true]);
  expect(events).toMatchObject([{ type: "rejected", reason: "corrupt" }]);
  expect((await visitor(withCipher, { jar })((session) => session.get("a"))).result).toBe(1);
});

test("a record without encryption is read as it is, and changed", async () => {
  const visit = visitor({ store: memoryStore() });
  for (const n of [1, 2]) {
    await visit((session) => session.set("a", n));
    expect((await visit((session) => session.get("a"))).result).toBe(n);
  }
});
