import { expect, test } from "vitest";
import { signedIds } from "../../src/signed_ids.ts";
import { openOldSession } from "./old_session.ts";
import { answer, get, id, managerIn, openWorld, recentWrites, secrets, set, SHOP, visit, type World } from "./world.ts";

const newer = "another secret of at least thirty-two bytes";
/** Servers that know both secrets, and still sign with the older one. */
const settings = { options: { ids: signedIds({ secrets: [...secrets, newer] }) }, simulated: { delay: 30 } };

/** The same world, with servers that sign with the newer secret. */
function withNewer(world: World): World {
  const ids = signedIds({ secrets: [newer, ...secrets] });
  return { ...world, at: (place) => managerIn(world, place, { ids }) };
}

test("a client sees the session that it has begun after its id was signed anew, where the store does not show it", async () => {
  const before = openWorld(settings);
  const after = withNewer(before);
  await visit(before, "Paris", set("n", 1));
  expect(await visit(after, "Paris", get("n"))).toBe(1);
  expect(recentWrites(after).size).toBe(1);
  expect(await visit(after, "Tokyo", get("n"))).toBe(1);
  expect(await visit(before, "Paris", get("n"))).toBe(1);
  expect(await visit(before, "Tokyo", get("n"))).toBe(1);
});

test("a client sees its own write after its id was signed anew", async () => {
  const before = await openOldSession(settings);
  const after = withNewer(before);
  await visit(before, "Paris", set("old", 2));
  expect(await visit(after, "Paris", get("old"))).toBe(2);
  expect(await visit(after, "Tokyo", get("old"))).toBe(2);
  await visit(before, "Lima", set("old", 3));
  expect(await visit(after, "Tokyo", get("old"))).toBe(3);
});

test("a response without recent writes sets no cookie for them when it signs the id anew", async () => {
  const before = await openOldSession(settings);
  await visit(withNewer(before), "Paris", get("old"));
  expect(recentWrites(before).size).toBe(0);
});

test.each(["destroy", "regenerate"] as const)(
  "a session stays ended for its client after %s(), although another response signs the old id anew",
  async (end) => {
    const before = await openOldSession(settings);
    const after = withNewer(before);
    const { response } = await answer(after, "Paris", id);
    await visit(before, "Paris", (session) => session[end]());
    before.jar.store(SHOP, response);
    expect(await visit(after, "Tokyo", get("old"))).toBeUndefined();
  },
);

test("a retired id that was signed anew leads to the new one during its grace", async () => {
  const before = await openOldSession(settings);
  const after = withNewer(before);
  const { response } = await answer(after, "Paris", id);
  await visit(before, "Paris", async (session) => {
    await session.regenerate({ grace: 30 });
    session.set("user", "ada");
  });
  before.jar.store(SHOP, response);
  expect(await visit(after, "Tokyo", get("user"))).toBe("ada");
});
