import { expect, test } from "vitest";
import { isFresh } from "../../../mod.ts";
import { fakeClock } from "../../../src/testing.ts";
import { visitor } from "../../setup/sessions.ts";

test("isFresh() is true for as many seconds after a login as it is asked for", async () => {
  const clock = fakeClock();
  const visit = visitor({ now: clock.now });
  const fresh = async (): Promise<boolean> => (await visit((session) => isFresh(session, 60))).result;
  await visit((session) => session.set("user", "ada"));
  expect(await fresh()).toBe(false);
  expect((await visit((session) => isFresh(session, Number.MAX_VALUE))).result).toBe(false);
  await visit((session) => session.regenerate({ reauthenticated: true }));
  clock.advance(59);
  expect(await fresh()).toBe(true);
  clock.advance(1);
  expect(await fresh()).toBe(false);
});

test.each([0, -1, Number.NaN, Infinity, "300", undefined])("isFresh() refuses %j seconds", async (seconds) => {
  await visitor()(async (session) => {
    await expect(isFresh(session, seconds as number)).rejects.toThrow(RangeError);
  });
});
