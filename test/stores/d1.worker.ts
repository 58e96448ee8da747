/** The code that the tests of D1 run inside workerd. */
import { SessionManager } from "../../mod.ts";
import { type D1Client, d1Store } from "../../src/stores/d1.ts";
import { storeCases } from "../../src/testing.ts";
import { increment } from "./databases/steps.ts";

interface Env {
  readonly DB: D1Client & { withSession(constraint: string): D1Client & { getBookmark(): string | null } };
}

export default {
  async fetch(request: Request, { DB }: Env): Promise<Response> {
    const { name, updates, session, key, times } = Object.fromEntries(new URL(request.url).searchParams);
    const database = session === undefined ? DB : DB.withSession(session);
    if (updates !== undefined) return Response.json(await count(d1Store(DB), Number(updates)));
    if (key !== undefined) {
      for (let done = 0; done < Number(times); done++) await increment(d1Store(DB), key);
      return new Response("done");
    }
    let isBroken = false;
    let calls = 0;
    // A statement that D1 rejects: a real error of the real engine.
    const failing: D1Client = {
      prepare(statement) {
        calls++;
        return database.prepare(isBroken ? "SELECT rubbish" : statement);
      },
    };
    try {
      await storeCases()
        .find((each) => each.name === name)
        ?.run(() => ({
          store: d1Store(failing),
          neighbour: d1Store(database, { table: "other" }),
          calls: () => calls,
          async spoil(key) {
            await database
              .prepare(`UPDATE sessions SET value = x'00ff', version = 'theirs' WHERE key = '${key}'`)
              .all();
          },
          fail: () => void (isBroken = true),
        }));
      return new Response("passed");
    } catch (error) {
      return new Response(String(error));
    }
  },
};

/** The data of a session after this many concurrent updates, each by a Session of its own. */
async function count(store: ReturnType<typeof d1Store>, updates: number): Promise<unknown> {
  const sessions = new SessionManager<Record<string, number>>({ store, storeTimeout: 120 });
  const first = sessions.start(new Request("https://example.com/"));
  first.set("count", 0);
  await first.save();
  const id = await first.id();
  if (id === null) throw new Error("There is no session");
  await Promise.all(Array.from({ length: updates }, () => sessions.open(id).update("count", (n = 0) => n + 1)));
  return await sessions.open(id).get("count");
}
