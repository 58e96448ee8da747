import fc from "fast-check";
import { expect, test } from "vitest";
import { SessionManager } from "../../mod.ts";
import { fakeClock } from "../../src/testing.ts";
import { runsOf } from "../setup/random.ts";
import { cookieOf, type Data, openStore, sealed, withCopy } from "./setup.ts";

/** A request with one of the copies of the cookie, and the seconds before it. */
interface Step {
  readonly does: "read" | "write" | "regenerate" | "grace" | "fail" | "logout";
  readonly copy: number;
  readonly after: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  does: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom("read" as const, "write") },
    { weight: 3, arbitrary: fc.constantFrom("regenerate" as const, "grace", "fail") },
    { weight: 1, arbitrary: fc.constant("logout" as const) },
  ),
  copy: fc.nat(20),
  after: fc.constantFrom(0, 1, 30, 61, 1300),
});

/** The expected state of one id. */
interface Id {
  isEnded: boolean;
  retired?: { readonly at: number; readonly until: number; readonly by: Id };
}

function isOpen(id: Id, now: number): boolean {
  if (id.isEnded) return false;
  return id.retired === undefined || (id.retired.until > now && isOpen(id.retired.by, now));
}

function end(id: Id, now: number): void {
  const { retired } = id;
  if (id.isEnded) return;
  if (retired !== undefined && now >= Math.max(retired.at + 600_000, retired.until) + 600_000) return;
  if (retired !== undefined) end(retired.by, now);
  id.isEnded = true;
}

test("each copy of a session of cookieSessions({ revocation }) opens when it must, and only then, whatever was done before", async () => {
  const property = fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), async (steps) => {
    const clock = fakeClock(1_800_000_000_000);
    const sessions = new SessionManager<Data>(sealed({ now: clock.now }, { revocation: openStore().store }));
    const first = await withCopy(sessions, "a=b")((session) => session.set("n", 1));
    const copies: { readonly cookie: string; readonly id: Id }[] = [
      { cookie: cookieOf(first), id: { isEnded: false } },
    ];
    const check = async (): Promise<void> => {
      for (const [at, { cookie, id }] of copies.entries()) {
        const { result } = await withCopy(sessions, cookie)((session) => session.has("n"));
        expect([at, result]).toEqual([at, isOpen(id, clock.now())]);
      }
    };
    for (const { does, copy, after } of steps) {
      clock.advance(after);
      const { cookie, id } = copies[copy % copies.length]!;
      const mayWrite = isOpen(id, clock.now()) && id.retired === undefined;
      const visit = withCopy(sessions, cookie);
      if (does === "read") await visit((session) => session.get("n"));
      if (does === "logout") {
        await visit((session) => session.destroy());
        end(id, clock.now());
      }
      if (does === "write") {
        const { cookies } = await visit(async (session) => {
          if (await session.has("n")) session.set("n", copies.length + 1);
        });
        expect(cookies.some((line) => !line.includes("Max-Age=0"))).toBe(mayWrite);
        if (mayWrite) copies.push({ cookie: cookieOf({ cookies }), id });
      }
      if (does === "regenerate" || does === "grace") {
        const { cookies } = await visit(async (session) => {
          if (await session.has("n")) await session.regenerate(does === "grace" ? { grace: 60 } : {});
        });
        expect(cookies.some((line) => !line.includes("Max-Age=0"))).toBe(mayWrite);
        if (mayWrite) {
          const by: Id = { isEnded: false };
          const at = clock.now();
          id.retired = { at, until: does === "grace" ? at + 60_000 : -Infinity, by };
          copies.push({ cookie: cookieOf({ cookies }), id: by });
        }
      }
      if (does === "fail") {
        const failed = visit(async (session) => {
          if (await session.has("n")) {
            await session.regenerate();
            await session.save().catch(() => {});
          }
          throw new Error("no");
        });
        await expect(failed).rejects.toThrow("no");
      }
      await check();
    }
  });
  await fc.assert(property, runsOf(150));
});
