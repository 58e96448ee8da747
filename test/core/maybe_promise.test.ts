import { describe, expect, test } from "vitest";
import { memoryStore, type Session, SessionManager, withSession } from "../../mod.ts";
import { chain, isPromise, type MaybePromise, recovering, settling } from "../../src/core/maybe_promise.ts";
import { altered, SHOP } from "../setup/sessions.ts";

test("isPromise() asks for `then` alone, so that it knows the promises of another realm and of a database's client", () => {
  // oxlint-disable-next-line unicorn/no-thenable -- that is what such clients give
  const thenable = { then: () => {} };
  expect([Promise.resolve(1), thenable].map((value: unknown) => isPromise(value))).toEqual([true, true]);
  // oxlint-disable-next-line unicorn/no-thenable -- not a promise
  const others = [undefined, null, 1, "then", {}, { then: 1 }, [], () => {}, Object.assign(() => {}, thenable)];
  expect(others.map((value: unknown) => isPromise(value))).toEqual(others.map(() => false));
});

test("chain() passes a value on: at once, or when it comes", async () => {
  expect(chain(1, (value) => value + 1)).toBe(2);
  const later = chain(Promise.resolve(1), (value) => value + 1);
  expect(isPromise(later)).toBe(true);
  expect(await later).toBe(2);
  expect(await chain(1, async (value) => value + 1)).toBe(2);
});

test("recovering() passes a failure to its second function, whether it comes now or later, and a value to nobody", async () => {
  const failure = new Error("no");
  const recover = (error: unknown): string => (error === failure ? "recovered" : "wrong");
  const fail = (): never => {
    throw failure;
  };
  expect(recovering(() => "value", recover)).toBe("value");
  expect(recovering(fail, recover)).toBe("recovered");
  const later = recovering(async () => fail(), recover);
  expect(isPromise(later)).toBe(true);
  expect(await later).toBe("recovered");
  expect(await recovering(async () => "value", recover)).toBe("value");
});

test("settling() passes on a value or a failure, now or later, and does not recover from a failure of its second function", async () => {
  const failure = new Error("no");
  const fail = (): never => {
    throw failure;
  };
  const next = (value: number): string => `got ${value}`;
  const recover = (error: unknown): string => (error === failure ? "recovered" : "wrong");
  expect(settling(() => 1, next, recover)).toBe("got 1");
  expect(settling(fail, next, recover)).toBe("recovered");
  expect(() => settling(() => 1, fail, recover)).toThrow(failure);
  const later = settling(async () => 1, next, recover);
  expect(isPromise(later)).toBe(true);
  expect(await later).toBe("got 1");
  expect(await settling(async () => fail(), next, recover)).toBe("recovered");
  await expect(settling(async () => 1, fail, recover)).rejects.toBe(failure);
});

/** An object with only a `then`, which returns nothing. */
function bare<T>(value: T): Promise<T> {
  // oxlint-disable-next-line unicorn/no-thenable -- what a database's client may give
  return { then: (take: (value: T) => void) => void take(value) } as unknown as Promise<T>;
}

describe("something that has nothing but `then`", () => {
  test("is a promise for chain() and recovering()", async () => {
    expect(await chain(bare(1), (value) => value + 1)).toBe(2);
    expect(
      await recovering(
        () => bare(1),
        () => 2,
      ),
    ).toBe(1);
  });

  test("fails as a promise does, and may give a promise", async () => {
    const inner = memoryStore();
    const hidden = new Error("key 4711");
    const broken = {
      // oxlint-disable-next-line unicorn/no-thenable -- as above
      then() {
        throw hidden;
      },
    } as unknown as Promise<null>;
    const ask = async (answer: Promise<null>): Promise<unknown> => {
      const session = new SessionManager({ store: altered(inner, { load: () => answer }) }).open("a".repeat(32));
      return await session.get("n").catch((error: unknown) => error);
    };
    expect(await ask(broken)).toMatchObject({ code: "ERR_STORE", message: expect.not.stringContaining("4711") });
    expect(await ask(bare(Promise.resolve(null)) as unknown as Promise<null>)).toBeUndefined();
  });

  test("may be what each function of a program gives", async () => {
    const inner = memoryStore();
    const store = altered(inner, {
      load: (load, ...args) => bare(load(...args)) as ReturnType<typeof inner.load>,
      save: (save, ...args) => bare(save(...args)) as ReturnType<typeof inner.save>,
      delete: (remove, ...args) => bare(remove(...args)) as ReturnType<typeof inner.delete>,
    });
    let token: string | null = null;
    const options = {
      store: () => bare(store),
      generateId: () => bare("a".repeat(32)),
      transports: [
        {
          name: () => "own",
          read: () => bare(token) as MaybePromise<string | null>,
          write: (_headers: Headers, given: string) => void (token = given),
          clear: () => void (token = null),
        },
      ],
      plugins: [{ name: "own", admit: () => bare(undefined) }],
    };
    const visit = async (use: (session: Session) => unknown): Promise<unknown> => {
      let result: unknown;
      const handle = withSession(async (_request, session) => {
        result = await use(session);
        return new Response();
      }, options);
      await handle(new Request(SHOP));
      return result;
    };
    const increment = (session: Session): Promise<unknown> => session.update("n", (n = 0) => bare(Number(n) + 1));
    expect([await visit(increment), await visit(increment), await visit((session) => session.get("n"))]).toEqual([
      1, 2, 2,
    ]);
    await visit((session) => session.destroy());
    expect([token, await visit((session) => session.get("n"))]).toEqual([null, undefined]);
  });
});
