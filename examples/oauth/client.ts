import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { browser, check } from "../check.ts";

type Browser = ReturnType<typeof browser>;

const location = async (own: Browser, path: string): Promise<string> => (await own(path)).headers.get("Location") ?? "";

/** Goes to the provider, and returns the address to which the provider redirects the browser. */
async function approved(own: Browser): Promise<string> {
  return await location(own, await location(own, "/login"));
}

async function signedIn(): Promise<Browser> {
  const own = browser();
  await own(await approved(own));
  return own;
}

const who = async (own: Browser): Promise<string> => await (await own("/")).text();

await check("A login by the provider signs in, under a new id", async () => {
  const own = browser();
  const back = await approved(own);
  const before = own.cookie();
  assert.equal((await own(back)).headers.get("Location"), "/");
  assert.notEqual(own.cookie(), before);
  assert.equal(await who(own), "You are Ada\n");
});

await check("Somebody else's link signs nobody in", async () => {
  const mallory = browser();
  const link = await approved(mallory);
  const victim = browser();
  assert.equal((await victim(link)).status, 400);
  assert.equal(await who(victim), "You are nobody\n");
});

await check("A link whose state is a name that every object has signs nobody in", async () => {
  const mallory = browser();
  const authorize = new URL(await location(mallory, "/login"));
  // A program that looks the state up like `logins[state]` would take this function for the verifier.
  authorize.searchParams.set("state", "constructor");
  authorize.searchParams.set("code_challenge", createHash("sha256").update(String(Object)).digest("base64url"));
  const link = await location(mallory, authorize.href);
  const victim = browser();
  assert.equal((await victim(link)).status, 400);
  assert.equal(await who(victim), "You are nobody\n");
});

await check("A link works once", async () => {
  const own = browser();
  const back = await approved(own);
  await own(back);
  assert.equal((await own(back)).status, 400);
  assert.equal(await who(own), "You are Ada\n");
});

await check("Two tabs can sign in at once", async () => {
  const own = browser();
  await own("/login");
  const backs = await Promise.all([approved(own), approved(own)]);
  assert.equal((await own(backs[0])).status, 303);
  assert.equal((await own(backs[1])).status, 303);
});

await check(
  "10 requests at once renew the token, one after the other, and no refresh token is used twice",
  async () => {
    const own = await signedIn();
    const answers = await Promise.all(Array.from({ length: 10 }, () => own("/renew")));
    for (const answer of answers) assert.match(await answer.text(), /^Token /);
    assert.match(await (await own("/renew")).text(), /^Token /);
  },
);

await check("An outage of the provider loses no refresh token", async () => {
  const own = await signedIn();
  await own("/provider/outage");
  assert.equal((await own("/renew")).status, 500);
  assert.match(await (await own("/renew")).text(), /^Token /);
});
