import { expect, test } from "vitest";
import { type Plugin, type PluginHost, type SessionEvent, SessionManager } from "../../mod.ts";
import { internalsOf } from "../../src/core/session_internals.ts";
import { faultyStore } from "../../src/testing.ts";
import { codeOf, openStore } from "../setup/sessions.ts";

test("refresh() finds nothing newer where there is no session", async () => {
  const session = new SessionManager().open("");
  await internalsOf(session).refresh();
  expect(internalsOf(session).found).toBeNull();
});

test("a plugin tells events of its own under the name of its manager, whether or not anybody listens", () => {
  const heard: SessionEvent[] = [];
  const hosts: PluginHost[] = [];
  const plugin: Plugin = { name: "job", attach: (host) => void hosts.push(host) };
  const managers = [{ onEvent: (event: SessionEvent) => heard.push(event) }, {}].map(
    (options) => new SessionManager({ plugins: [plugin], cookie: { name: "__Host-shop" }, ...options }),
  );
  for (const host of hosts) host.emit({ type: "revoked", sessions: 2 });
  expect([managers.length, hosts.length, heard]).toEqual([
    2,
    2,
    [{ type: "revoked", sessions: 2, name: "__Host-shop" }],
  ]);
});

test("discloseId() tells the id of a session that exists, and the new one of a session that perhaps got it", async () => {
  const faulty = faultyStore(openStore().store);
  const session = new SessionManager({ store: faulty }).open("");
  const old = await session.create();
  await session.save();
  expect(await internalsOf(session).discloseId()).toBe(old);
  expect(internalsOf(session).disclosedId).toBeUndefined();
  await session.regenerate();
  faulty.plan({ save: ["none", "rejects", "rejects"], load: "rejects" });
  expect(await codeOf(() => session.save())).toBe("ERR_STORE");
  faulty.plan({});
  const told = await internalsOf(session).discloseId();
  expect(told).not.toBe(old);
  await session.save();
  expect(await session.id()).toBe(told);
});
