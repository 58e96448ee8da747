import { expect, test } from "vitest";
import { memoryStore, type RecordCodec, type SessionEvent } from "../../mod.ts";
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

const reversed = (text: string): string => [...text].toReversed().join("");
const eachReversed = (fields: ReadonlyMap<string, string>): Map<string, string> =>
  new Map([...fields].map(([name, text]) => [name, `(${reversed(text)})`]));

test.each<[string, RecordCodec]>([
  [
    "changes each field",
    {
      seal: eachReversed,
      open: (fields) => new Map([...fields].map(([name, text]) => [name, reversed(text.slice(1, -1))])),
    },
  ],
  [
    "keeps all fields in one",
    {
      seal: async (fields) => new Map([["all", JSON.stringify([...fields])]]),
      open: async (fields) => (fields.size === 1 ? new Map(JSON.parse(fields.get("all") ?? "[]")) : null),
    },
  ],
])("a codec of a program that %s needs to know nothing of metadata", async (_name, codec) => {
  const store = memoryStore();
  const visit = visitor({ store, encryption: codec, rotateEvery: 60 });
  await visit((session) => session.set({ n: 1, text: "two\nlines" }));
  expect((await visit((session) => session.update("n", (n: unknown) => Number(n) + 1))).result).toBe(2);
  await visit((session) => session.regenerate());
  expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 2, text: "two\nlines" });
});

test("a codec can bind what it makes to the metadata", async () => {
  const told: string[] = [];
  const codec: RecordCodec = {
    seal: (fields, _id, _key, _op, metadata) => (told.push(metadata), fields),
    open: (fields, _id, _key, _op, metadata) => (told.push(metadata), fields),
  };
  const visit = visitor({ store: memoryStore(), encryption: codec });
  await visit((session) => session.set("n", 1));
  await visit((session) => session.get("n"));
  expect(told).toEqual([expect.stringMatching(/^1 [0-9a-f]{16} /), told[0]]);
});
