import assert from "node:assert/strict";
import { createTRPCClient, httpBatchLink, httpBatchStreamLink, splitLink } from "@trpc/client";
import { browser, check, ORIGIN } from "../check.ts";
import type { AppRouter } from "./server.ts";

/** Calls that renew the id or end the session set a cookie, so they use the link that does not stream. */
function client(fetch: typeof globalThis.fetch) {
  const url = `${ORIGIN}/trpc`;
  return createTRPCClient<AppRouter>({
    links: [
      splitLink({
        condition: ({ path, context }) => ["login", "logout"].includes(path) || context["stream"] !== true,
        true: httpBatchLink({ url, fetch }),
        false: httpBatchStreamLink({ url, fetch }),
      }),
    ],
  });
}

const stream = { context: { stream: true } };

await check("A query that only reads sets no cookie", async () => {
  const own = browser();
  assert.equal(await client(own).me.query(), "nobody");
  assert.equal(own.cookie(), "");
});

await check("A batch of mutations is counted one by one", async () => {
  const trpc = client(browser());
  const counts = await Promise.all([1, 2, 3].map(() => trpc.visit.mutate()));
  assert.deepEqual(counts.sort(), [1, 2, 3]);
  assert.equal(await trpc.visits.query(), 3);
});

await check("A streamed batch is counted one by one, and what it answers is stored", async () => {
  const trpc = client(browser());
  await trpc.visit.mutate();
  const counts = await Promise.all([1, 2, 3].map(() => trpc.visit.mutate(undefined, stream)));
  assert.deepEqual(counts.sort(), [2, 3, 4]);
  assert.equal(await trpc.visits.query(), 4);
});

await check("A streamed batch begins a session, and its cookie arrives", async () => {
  const own = browser();
  const trpc = client(own);
  const counts = await Promise.all([1, 2, 3].map(() => trpc.visit.mutate(undefined, stream)));
  assert.deepEqual(counts.sort(), [1, 2, 3]);
  assert.match(own.cookie(), /^session=/);
  assert.equal(await trpc.visits.query(), 3);
});

await check("A login renews the id, and a logout ends the session", async () => {
  const own = browser();
  const trpc = client(own);
  await trpc.visit.mutate();
  const before = own.cookie();
  await trpc.login.mutate("Ada");
  assert.notEqual(own.cookie(), before);
  assert.equal(await trpc.me.query(undefined, stream), "Ada");
  await trpc.logout.mutate();
  assert.equal(own.cookie(), "");
  assert.equal(await trpc.me.query(), "nobody");
});
