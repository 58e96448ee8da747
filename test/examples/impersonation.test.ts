import { describe, expect, test } from "vitest";
import { support } from "../../examples/impersonation.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";

const SHOP = "https://shop.example";

/** The program, and one browser. */
function open() {
  const clock = fakeClock();
  const { fetch, users, log } = support({ now: clock.now });
  const jar = cookieJar({ now: clock.now });
  const send = (
    path: string,
    form?: Record<string, string>,
    headers: Record<string, string> = { "Sec-Fetch-Site": "same-origin" },
  ) => jar.fetch(fetch, SHOP + path, form && { method: "POST", headers, body: new URLSearchParams(form) });
  const who = async (): Promise<unknown> => await (await send("/")).json();
  const id = (): string | undefined => jar.cookies()[0]?.value;
  return { clock, users, log, send, who, id };
}

describe("examples/impersonation.ts", () => {
  test("staff acts for a customer under a new id, with both names in the log, until it stops", async () => {
    const { send, who, id, log } = open();
    await send("/login", { user: "sue" });
    const before = id();
    expect((await send("/act", { customer: "ada" })).status).toBe(303);
    expect(id()).not.toBe(before);
    expect(await who()).toEqual({ user: "sue", actingFor: "ada" });
    await send("/order", {});
    const acting = id();
    await send("/stop", {});
    expect(id()).not.toBe(acting);
    expect(await who()).toEqual({ user: "sue", actingFor: null });
    expect(log).toEqual(["sue begins to act for ada", "sue orders for ada", "sue stops to act for ada"]);
  });

  test("it ends after 15 minutes, and staff stays signed in", async () => {
    const { clock, send, who } = open();
    await send("/login", { user: "sue" });
    await send("/act", { customer: "ada" });
    clock.advance(899);
    expect(await who()).toEqual({ user: "sue", actingFor: "ada" });
    clock.advance(2);
    expect(await who()).toEqual({ user: "sue", actingFor: null });
  });

  test("it asks for a login of the last five minutes", async () => {
    const { clock, send, who } = open();
    await send("/login", { user: "sue" });
    clock.advance(301);
    expect((await send("/act", { customer: "ada" })).status).toBe(401);
    expect(await who()).toEqual({ user: "sue", actingFor: null });
    await send("/login", { user: "sue" });
    expect((await send("/act", { customer: "ada" })).status).toBe(303);
  });

  test("customers cannot act for anybody, and nobody acts as staff", async () => {
    const { send, who } = open();
    await send("/login", { user: "ada" });
    expect((await send("/act", { customer: "bob" })).status).toBe(403);
    await send("/login", { user: "sue" });
    expect((await send("/act", { customer: "sue" })).status).toBe(403);
    expect(await who()).toEqual({ user: "sue", actingFor: null });
  });

  test("who is revoked acts for nobody any more", async () => {
    const { send, who, users } = open();
    await send("/login", { user: "sue" });
    await send("/act", { customer: "ada" });
    expect(await users.revokeAll("sue")).toBe(1);
    expect(await who()).toEqual({ user: null, actingFor: null });
  });

  test("a form of another site is refused, and one of an old browser's own page is not", async () => {
    const { send, who } = open();
    await send("/login", { user: "sue" }, { Origin: SHOP });
    expect((await send("/act", { customer: "ada" }, { "Sec-Fetch-Site": "cross-site" })).status).toBe(403);
    expect(await who()).toEqual({ user: "sue", actingFor: null });
  });
});
