import assert from "node:assert/strict";
import { browser, check } from "../check.ts";

async function ask(send: typeof fetch, query: string): Promise<unknown> {
  const response = await send("/graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ query }),
  });
  return ((await response.json()) as { data: unknown }).data;
}

await check("A query that only reads sets no cookie", async () => {
  const own = browser();
  assert.deepEqual(await ask(own, "{ me }"), { me: "nobody" });
  assert.equal(own.cookie(), "");
});

await check("Mutations of one operation run in order, and are counted", async () => {
  const own = browser();
  assert.deepEqual(await ask(own, "mutation { a: visit b: visit }"), { a: 1, b: 2 });
  assert.deepEqual(await ask(own, "mutation { visit }"), { visit: 3 });
});

await check("20 operations at once are all counted", async () => {
  const own = browser();
  await ask(own, "mutation { visit }");
  await Promise.all(Array.from({ length: 20 }, () => ask(own, "mutation { visit }")));
  assert.deepEqual(await ask(own, "mutation { visit }"), { visit: 22 });
});

await check("A login renews the id, and a logout ends the session", async () => {
  const own = browser();
  await ask(own, "mutation { visit }");
  const before = own.cookie();
  await ask(own, 'mutation { login(user: "Ada") }');
  assert.notEqual(own.cookie(), before);
  assert.deepEqual(await ask(own, "{ me }"), { me: "Ada" });
  await ask(own, "mutation { logout }");
  assert.equal(own.cookie(), "");
});
