import { expect, test } from "vitest";
import { SessionManager } from "../../mod.ts";
import { isManager, MANAGER, managerInternalsOf } from "../../src/core/manager_internals.ts";

test("a manager is known by its internals, also one that another copy of this package made", () => {
  const internals = {};
  const foreign: object = { [Symbol.for("with-session.SessionManager.1")]: internals };
  expect([isManager(new SessionManager()), isManager(foreign)]).toEqual([true, true]);
  expect(managerInternalsOf(foreign as SessionManager)).toBe(internals);
  for (const other of [undefined, null, 7, "manager", {}, []]) expect(isManager(other as object)).toBe(false);
  // A copy of the options that took it over would be a manager as well.
  expect(Object.keys(new SessionManager())).not.toContain(MANAGER);
});
