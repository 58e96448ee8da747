import fc from "fast-check";
import {
  answer,
  type Data,
  everything,
  openWorld,
  type Place,
  PLACES,
  SHOP,
  type Use,
  visit,
  type WorldSettings,
} from "./world.ts";

/** The next action of a browser or a server, and the seconds before it. */
export type Step = { readonly place: Place; readonly after: number } & (
  | { readonly does: "read" | "login" | "logout" | "remember" | "serve" }
  | { readonly does: "set" | "delete"; readonly key: string }
  | { readonly does: "both"; readonly other: Place }
);

const place = fc.constantFrom(...PLACES);
const key = fc.constantFrom("a", "b", "c");

export const alone = (after: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ does: fc.constant("read" as const), place, after }) },
    { weight: 6, arbitrary: fc.record({ does: fc.constant("set" as const), place, after, key }) },
    { weight: 2, arbitrary: fc.record({ does: fc.constant("delete" as const), place, after, key }) },
    {
      weight: 1,
      arbitrary: fc.record({ does: fc.constantFrom("login" as const, "logout", "remember"), place, after }),
    },
  );

/** Steps with two tabs at the same time. */
export const inTabs = (after: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  fc.oneof(
    { weight: 8, arbitrary: alone(after) },
    { weight: 2, arbitrary: fc.record({ does: fc.constant("both" as const), place, other: place, after }) },
  );

/** Steps with a job that writes into the session in one place, and does not know what the browser has seen. */
export const withJob = (after: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  fc.oneof(
    { weight: 8, arbitrary: inTabs(after) },
    {
      weight: 2,
      arbitrary: fc.record({ does: fc.constant("serve" as const), place: fc.constant("Lima" as const), after }),
    },
  );

/** Plays a trace. Returns the steps in which the browser did not see what it must see. */
export async function violationsIn(steps: readonly Step[], settings: WorldSettings): Promise<string[]> {
  const world = openWorld(settings);
  const violations: string[] = [];
  /** The values that the browser has written or seen last, without those that it has removed. */
  const seen = new Map<string, number>();
  let id: string | null = null;
  let written = 0;
  let isIn = false;
  const compare = (found: Data, step: Step): void => {
    for (const name of new Set([...seen.keys(), ...Object.keys(found)])) {
      const now = typeof found[name] === "number" ? found[name] : 0;
      const before = seen.get(name) ?? 0;
      // A value written by the server may be newer. All other values must be the browser's own.
      if (name === "server" ? now < before : now !== before) violations.push(`${step.does} in ${step.place}: ${name}`);
      if (now > 0) seen.set(name, now);
      else seen.delete(name);
    }
  };
  const set =
    (name: string, step: Step): Use<void> =>
    async (session) => {
      compare(await everything(session), step);
      seen.set(name, ++written);
      session.set(name, written);
    };
  for (const step of steps) {
    world.clock.advance(step.after);
    if (step.does === "both") {
      const responses = [];
      for (const [at, name] of [
        [step.place, "one"],
        [step.other, "two"],
      ] as const) {
        if (!isIn) continue;
        const value = ++written;
        responses.push(await answer(world, at, (session) => session.set(name, value)));
        seen.set(name, value);
      }
      for (const { response } of responses) world.jar.store(SHOP, response);
      continue;
    }
    if (step.does === "serve") {
      if (id === null) continue;
      const session = world.at(step.place).open(id);
      session.set("server", ++written);
      if ((await session.id()) !== null) await session.save().catch(() => {});
      continue;
    }
    id = await visit(world, step.place, async (session) => {
      if (step.does === "set") await set(step.key, step)(session);
      else compare(await everything(session), step);
      if (step.does === "delete") session.delete(step.key);
      if (step.does === "delete") seen.delete(step.key);
      if (step.does === "login") await session.regenerate();
      if (step.does === "remember") session.setTimeouts({ idle: 100_000 + step.after });
      if (step.does === "logout") await session.destroy();
      if (step.does === "logout") seen.clear();
      return await session.id();
    });
    isIn = id !== null;
  }
  return violations;
}
