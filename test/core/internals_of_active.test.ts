import { expect, test } from "vitest";
import { type Plugin, type PluginHost, type SessionEvent, SessionManager } from "../../mod.ts";
import { internalsOf } from "../../src/core/session_internals.ts";

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
