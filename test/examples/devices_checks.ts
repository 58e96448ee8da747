/**
 * The checks of examples with "Your devices", in addition to the walk:
 *
 * - `GET /devices`: answers a JSON list of `{ handle, name, isThisOne }`, or 401 to a client that has not signed in.
 * - `POST /devices`: ends the session in the field `handle`, or without it all other sessions of the user, and redirects to
 *   `/devices`.
 *
 * @module
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { type Answer, type Client, client } from "./client.ts";
import type { Check } from "./walk.ts";

interface Device {
  readonly handle: string;
  readonly name: string;
  readonly isThisOne: boolean;
}

export const DEVICES_CHECKS: readonly Check[] = [
  {
    name: "Your devices: each browser of the user is listed by its name, and this one is marked",
    async run(origin) {
      const user = randomUUID();
      const phone = await signedIn(origin, user, "Phone");
      const laptop = await signedIn(origin, user, "Laptop");
      await signedIn(origin, randomUUID(), "Another user's");
      assert.deepEqual(await names(phone), ["Laptop", "Phone (this one)"]);
      assert.deepEqual(await names(laptop), ["Laptop (this one)", "Phone"]);
    },
  },
  {
    name: "Your devices: a handle is no id, and a visitor who has not signed in gets no list",
    async run(origin) {
      const phone = await signedIn(origin, randomUUID(), "Phone");
      const [device] = await devices(phone);
      assert.ok(device !== undefined);
      const thief = client(origin);
      thief.use(`${phone.cookie()?.split("=")[0]}=${device.handle}`);
      assert.equal((await thief.send("/devices")).status, 401);
    },
  },
  {
    name: "Your devices: one that is signed out from another has lost its session",
    async run(origin) {
      const user = randomUUID();
      const phone = await signedIn(origin, user, "Phone");
      const laptop = await signedIn(origin, user, "Laptop");
      assertRedirect(
        await laptop.send("/devices", { method: "POST", form: { handle: await handleOf(laptop, "Phone") } }),
      );
      assert.match((await phone.send("/me")).text, /You are nobody/);
      assert.match((await laptop.send("/me")).text, new RegExp(`You are ${user}`));
      assert.deepEqual(await names(laptop), ["Laptop (this one)"]);
    },
  },
  {
    name: "Your devices: signing out everywhere else leaves this one alone",
    async run(origin) {
      const user = randomUUID();
      const others = [await signedIn(origin, user, "Phone"), await signedIn(origin, user, "Tablet")];
      const laptop = await signedIn(origin, user, "Laptop");
      assertRedirect(await laptop.send("/devices", { method: "POST" }));
      for (const other of others) assert.match((await other.send("/me")).text, /You are nobody/);
      assert.deepEqual(await names(laptop), ["Laptop (this one)"]);
    },
  },
  {
    name: "Your devices: another user's handle ends nothing",
    async run(origin) {
      const ada = await signedIn(origin, randomUUID(), "Ada's");
      const eve = await signedIn(origin, randomUUID(), "Eve's");
      await eve.send("/devices", { method: "POST", form: { handle: await handleOf(ada, "Ada's") } });
      assert.deepEqual(await names(ada), ["Ada's (this one)"]);
    },
  },
  {
    name: "Your devices: a logout takes the browser off the list",
    async run(origin) {
      const user = randomUUID();
      const phone = await signedIn(origin, user, "Phone");
      const laptop = await signedIn(origin, user, "Laptop");
      await phone.send("/logout", { method: "POST" });
      assert.deepEqual(await names(laptop), ["Laptop (this one)"]);
    },
  },
];

/** A browser with this name, in which the user has just signed in. */
async function signedIn(origin: string, user: string, name: string): Promise<Client> {
  const browser = client(origin);
  await browser.send("/login", { method: "POST", form: { user }, headers: { "User-Agent": name } });
  return browser;
}

async function devices(browser: Client): Promise<readonly Device[]> {
  const answer = await browser.send("/devices");
  assert.equal(answer.status, 200, answer.text.slice(0, 300));
  return JSON.parse(answer.body);
}

async function names(browser: Client): Promise<string[]> {
  const list = await devices(browser);
  return list.map(({ name, isThisOne }) => `${name}${isThisOne ? " (this one)" : ""}`).sort();
}

async function handleOf(browser: Client, name: string): Promise<string> {
  const device = (await devices(browser)).find((each) => each.name === name);
  assert.ok(device !== undefined, `${name} is listed`);
  return device.handle;
}

function assertRedirect(answer: Answer): void {
  assert.equal(answer.status, 303, answer.text.slice(0, 300));
  assert.match(answer.header("Location") ?? "", /\/devices$/);
}
