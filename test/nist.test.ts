import { describe, expect, test } from "vitest";
import { memoryStore, SessionManager, type SessionOptions, withSession } from "../mod.ts";
import { aal1, aal2, aal3 } from "../src/nist.ts";
import { client } from "./setup/client.ts";

const HOUR = 3600;
const levels = [
  { name: "aal1", level: aal1, idle: 720 * HOUR, absolute: 720 * HOUR },
  { name: "aal2", level: aal2, idle: HOUR, absolute: 24 * HOUR },
  { name: "aal3", level: aal3, idle: HOUR / 4, absolute: 12 * HOUR },
];

/** A client, and a clock in seconds. */
const scene = (options: SessionOptions) => {
  let now = 1_800_000_000_000;
  const own = client();
  const handle = withSession(
    async (_request, session) => {
      await session.update("n", (n: unknown) => Number(n ?? 0) + 1);
      return new Response(String(await session.get("n")));
    },
    { ...options, now: () => now },
  );
  return {
    clock: { advance: (seconds: number) => (now += seconds * 1000) },
    /** Visits the page, and returns the number of the visit: 1 if the session is new. */
    visit: async () => Number(await (await own.send(handle)).text()),
  };
};

describe.each(levels)("$name", ({ level, idle, absolute }) => {
  test("ends a session when it was not used for the inactivity timeout", async () => {
    const { clock, visit } = scene({ ...level });
    expect(await visit()).toBe(1);
    clock.advance(idle - 1);
    expect(await visit()).toBe(2);
    clock.advance(idle);
    expect(await visit()).toBe(1);
  });

  test("ends a session when the overall timeout is over, however often it was used", async () => {
    const { clock, visit } = scene({ ...level });
    expect(await visit()).toBe(1);
    let visits = 1;
    for (let left = absolute - 1; left > 0;) {
      const step = Math.min(left, idle * 0.9);
      clock.advance(step);
      left -= step;
      expect(await visit()).toBe((visits += 1));
    }
    clock.advance(1);
    expect(await visit()).toBe(1);
  });

  test("limits what a session asks for with setTimeouts(), also what it asked for without the level", async () => {
    for (const [before, own] of [
      [{}, { idle: 9000 * HOUR, absolute: false }],
      [{ ...level }, { idle: 9000 * HOUR }],
    ] as const) {
      const store = memoryStore();
      let now = 1_800_000_000_000;
      const visitor = client();
      const ask = withSession(
        async (_request, session) => {
          session.set("n", 1);
          session.setTimeouts(own);
          return new Response();
        },
        { ...before, store, now: () => now },
      );
      await visitor.send(ask);
      const info = withSession(async (_request, session) => Response.json((await session.info()).expiresAt), {
        ...level,
        store,
        now: () => now,
      });
      expect(await (await visitor.send(info)).json()).toBe(now + idle * 1000);
    }
  });

  test("can be shortened by other options, and not lengthened", () => {
    const make = (options: SessionOptions) => () => new SessionManager({ ...level, ...options });
    expect(make({})).not.toThrow();
    expect(make({ idleTimeout: idle / 2, absoluteTimeout: absolute / 2 })).not.toThrow();
    expect(make({ idleTimeout: idle + 1 })).toThrow(RangeError);
    expect(make({ absoluteTimeout: absolute + 1 })).toThrow(RangeError);
    expect(make({ absoluteTimeout: false })).toThrow(RangeError);
  });
});
