import assert from "node:assert/strict";
import { createORPCClient } from "@orpc/client";
import { RPCLink } from "@orpc/client/fetch";
import { browser, check, ORIGIN } from "../check.ts";

interface Client {
  me(): Promise<string>;
  visit(): Promise<number>;
  login(user: string): Promise<void>;
  logout(): Promise<void>;
}

function client(fetch: typeof globalThis.fetch): Client {
  return createORPCClient(
    new RPCLink({
      url: `${ORIGIN}/rpc`,
      fetch: (request, init) =>
        fetch(request, {
          method: request.method,
          headers: request.headers,
          body: request.body,
          duplex: "half",
          ...init,
        } as RequestInit),
    }),
  ) as unknown as Client;
}

await check("A call that only reads sets no cookie", async () => {
  const own = browser();
  assert.equal(await client(own).me(), "nobody");
  assert.equal(own.cookie(), "");
});

await check("20 calls at once are all counted", async () => {
  const orpc = client(browser());
  await orpc.visit();
  const counts = await Promise.all(Array.from({ length: 20 }, () => orpc.visit()));
  assert.equal(new Set(counts).size, 20);
  assert.equal(await orpc.visit(), 22);
});

await check("A login renews the id, and a logout ends the session", async () => {
  const own = browser();
  const orpc = client(own);
  await orpc.visit();
  const before = own.cookie();
  await orpc.login("Ada");
  assert.notEqual(own.cookie(), before);
  assert.equal(await orpc.me(), "Ada");
  await orpc.logout();
  assert.equal(own.cookie(), "");
});
