import { expect, test } from "vitest";
import { type Repository, SessionManager } from "../../mod.ts";
import { INTERNALS, internalsOf, internalsWith, notAmongPlugins } from "../../src/core/session_internals.ts";

test("internalsOf() finds the internals of a session, also of one that another copy of this package made", () => {
  const session = new SessionManager().open("");
  expect(internalsOf(session).policy.repository).toBe(internalsOf(session).policy.repository);
  expect(INTERNALS).toBe(Symbol.for("with-session.internals.1"));
  const internals = {};
  expect(internalsOf({ [INTERNALS]: internals })).toBe(internals);
});

test.each([undefined, null, 7, "session", {}, () => {}])(
  "internalsOf() throws a TypeError when it gets %j",
  (value) => {
    expect(() => internalsOf(value as object)).toThrow(new TypeError("Expected a Session of with-session"));
  },
);

test("internalsWith() refuses a session whose manager does not have the plugin", () => {
  const session = new SessionManager().open("");
  const { repository } = internalsOf(session).policy;
  const known = new Set<Repository>([repository]);
  expect(internalsWith(session, "userSessions", known).policy.repository).toBe(repository);
  expect(() => internalsWith(session, "userSessions", new Set<Repository>())).toThrow(
    /^userSessions is not among the plugins/,
  );
});

test("notAmongPlugins() makes the error of a plugin that the manager does not have", () => {
  const message = "userSessions is not among the plugins of this SessionManager; give it in the option plugins";
  expect(notAmongPlugins("userSessions")).toEqual(new TypeError(message));
});
