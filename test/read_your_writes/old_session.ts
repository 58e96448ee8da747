import { expect } from "vitest";
import { get, openWorld, PLACES, recentWrites, set, visit, type World, type WorldSettings } from "./world.ts";

/** A session that every place shows, and a browser without recent-writes cookies. */
export async function openOldSession(settings: WorldSettings = {}): Promise<World> {
  const world = openWorld(settings);
  await visit(world, "Paris", set("old", 1));
  // By any clock, every cache has expired, and no mark counts any more.
  world.clock.advance(settings.skews === undefined ? 121 : 1500);
  for (const each of PLACES) expect(await visit(world, each, get("old"))).toBe(1);
  world.clock.advance(settings.skews === undefined ? 0 : 121);
  expect(recentWrites(world).size).toBe(0);
  world.events.length = 0;
  return world;
}
