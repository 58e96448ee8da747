import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionEvent, withSession } from "../../mod.ts";
import type { SessionOptions } from "../../mod.ts";
import { cookieJar, fakeClock, faultyStore } from "../../src/testing.ts";

interface Data {
  n: number;
}

const SHOP = "https://shop.example/";
const unhandled: unknown[] = [];
const noteUnhandled = (error: unknown): unknown => unhandled.push(error);
beforeAll(() => {
  process.on("unhandledRejection", noteUnhandled);
});
afterAll(() => {
  process.off("unhandledRejection", noteUnhandled);
});

/** Resolves after Node has reported unhandled rejections. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A shop with a client; `begin` gives it a session. */
function openShop(options: SessionOptions<Data> = {}) {
  const store = faultyStore(memoryStore());
  const heard: SessionEvent["type"][] = [];
  const jar = cookieJar();
  /** Sends a request. The arguments of the platform follow. */
  const visit = (handle: (session: Session<Data>) => Response | Promise<Response>, ...rest: unknown[]) => {
    const all = { ...options, store, onEvent: (event: SessionEvent) => heard.push(event.type) };
    const handler = withSession<Data>((_request, session) => handle(session), all);
    return jar.fetch((request) => handler(request, ...rest), SHOP);
  };
  const begin = async (): Promise<void> => {
    await visit((session) => {
      session.set("n", 1);
      return new Response();
    });
    heard.length = 0;
    store.plan({});
  };
  const stored = async (): Promise<unknown> =>
    (await visit(async (session) => Response.json((await session.get("n")) ?? null))).json();
  return { store, heard, jar, visit, begin, stored };
}

/** A response whose body is made when the client reads it, with one chunk for each part. */
function streamOf(...parts: (() => Promise<string>)[]): Response {
  const encoder = new TextEncoder();
  const source = {
    async pull(controller: ReadableStreamDefaultController): Promise<void> {
      const part = parts.shift();
      if (part === undefined) controller.close();
      else controller.enqueue(encoder.encode(await part()));
    },
  };
  // Without a buffer, so that the first part runs after the response was returned.
  return new Response(new ReadableStream(source, { highWaterMark: 0 }));
}

/** The code of the error that a step ends in, or "done". */
async function codeOf(step: () => unknown): Promise<string> {
  try {
    await step();
    return "done";
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  }
}

describe("While the body streams", () => {
  test("save() stores what the body changed when the session exists", async () => {
    const { visit, begin, stored } = openShop();
    await begin();
    const response = await visit(async (session) => {
      await session.get("n");
      return streamOf(
        async () => {
          await session.update("n", (n = 0) => n + 1);
          await session.save();
          return "one ";
        },
        async () => {
          session.set("n", 10 * (await session.get("n", 0)));
          await session.save();
          return "two";
        },
      );
    });
    expect(await stored()).toBe(1);
    expect(await response.text()).toBe("one two");
    expect(await stored()).toBe(20);
  });

  test("save() works in a body whose handler never looked at the session", async () => {
    const { visit, begin, stored } = openShop();
    await begin();
    const response = await visit((session) =>
      streamOf(async () => {
        await session.update("n", (n = 0) => n + 1);
        await session.save();
        return "done";
      }),
    );
    expect([await response.text(), await stored()]).toEqual(["done", 2]);
  });

  test("update() counts on what another request wrote while the body streamed", async () => {
    const { visit, begin, stored } = openShop();
    await begin();
    const add = (session: Session<Data>) => session.update("n", (n = 0) => n + 1);
    const response = await visit(async (session) => {
      await session.get("n");
      return streamOf(async () => {
        await visit(async (other) => new Response(String(await add(other))));
        return String(await add(session));
      });
    });
    expect([await response.text(), await stored()]).toEqual(["3", 3]);
  });

  test("set() is stored in a streaming body, without save()", async () => {
    const { visit, begin, stored } = openShop();
    await begin();
    const response = await visit(async (session) => {
      await session.get("n");
      return streamOf(async () => {
        session.set("n", 7);
        return String(await session.get("n"));
      });
    });
    expect(await stored()).toBe(1);
    expect(await response.text()).toBe("7");
    await settled();
    expect(await stored()).toBe(7);
  });

  test("update() answers what is stored when two streams of one session count at once", async () => {
    const { visit, begin, stored } = openShop();
    await begin();
    const add = (session: Session<Data>) => async () => `${await session.update("n", (n = 0) => n + 1)} `;
    const streams = await Promise.all(
      [1, 2].map(() =>
        visit(async (session) => {
          await session.get("n");
          return streamOf(add(session), add(session));
        }),
      ),
    );
    const texts = await Promise.all(streams.map((response) => response.text()));
    expect(texts.join("").trim().split(" ").toSorted()).toEqual(["2", "3", "4", "5"]);
    expect(await stored()).toBe(5);
  });

  test("a write throws ERR_RESPONSE_SENT in a streaming body when there is no session", async () => {
    const { store, visit } = openShop();
    const codes: Record<string, string> = {};
    const response = await visit(async (session) => {
      await session.get("n");
      return streamOf(async () => {
        codes["set"] = await codeOf(() => session.set("n", 1));
        codes["update"] = await codeOf(() => session.update("n", () => 1));
        codes["flash"] = await codeOf(() => session.flash("n", 1));
        codes["create"] = await codeOf(() => session.create());
        codes["save"] = await codeOf(() => session.save());
        return "";
      });
    });
    expect([await response.text(), response.headers.getSetCookie()]).toEqual(["", []]);
    const late = "ERR_RESPONSE_SENT";
    expect(codes).toEqual({ set: late, update: late, flash: late, create: late, save: "done" });
    expect(store.calls).toEqual({ load: 0, save: 0, delete: 0 });
  });

  test("the response waits for an update() whose function takes longer than the handler", async () => {
    const { visit, stored } = openShop();
    const { promise: late, resolve } = Promise.withResolvers<number>();
    let isAnswered = false;
    const visiting = visit(async (session) => {
      await session.get("n");
      void session.update("n", () => late);
      return new Response();
    });
    const answered = visiting.then((response) => ((isAnswered = true), response));
    await settled();
    expect(isAnswered).toBe(false);
    resolve(1);
    expect((await answered).headers.getSetCookie()).toHaveLength(1);
    expect(await stored()).toBe(1);
  });

  test("regenerate() and destroy() throw ERR_RESPONSE_SENT in a streaming body, and the session lives on", async () => {
    const { visit, begin, stored } = openShop();
    await begin();
    const response = await visit(async (session) => {
      await session.get("n");
      return streamOf(
        async () => `${await codeOf(() => session.regenerate())} ${await codeOf(() => session.destroy())}`,
      );
    });
    expect([await response.text(), await stored()]).toEqual(["ERR_RESPONSE_SENT ERR_RESPONSE_SENT", 1]);
  });

  test("save() throws ERR_SESSION_GONE in a streaming body when the client has logged out meanwhile", async () => {
    const { visit, begin, stored } = openShop();
    await begin();
    const response = await visit(async (session) => {
      await session.get("n");
      return streamOf(async () => {
        await visit(async (other) => {
          await other.destroy();
          return new Response();
        });
        session.set("n", 2);
        return await codeOf(() => session.save());
      });
    });
    expect([await response.text(), await stored()]).toEqual(["ERR_SESSION_GONE", null]);
  });
});

describe("A client that goes away", () => {
  test.each([true, false])(
    "update() in a body stores as long as the client listens, and when it leaves (new session: %s)",
    async (isNew) => {
      const { visit, begin, stored } = openShop();
      if (!isNew) await begin();
      let hasLeft = false;
      const response = await visit(async (session) => {
        // The library copies the response and its body, but a client that leaves must still cancel the handler's stream.
        session.set("n", 5);
        const body = new ReadableStream(
          {
            async pull(controller) {
              await session.update("n", (n = 0) => n + 1);
              controller.enqueue(new TextEncoder().encode("part"));
            },
            async cancel() {
              hasLeft = true;
              await session.update("n", (n = 0) => n + 100);
            },
          },
          { highWaterMark: 0 },
        );
        return new Response(body);
      });
      const reader = response.body!.getReader();
      await reader.read();
      await reader.cancel();
      await settled();
      expect([hasLeft, await stored(), unhandled]).toEqual([true, 106, []]);
    },
  );

  test("save() still works when the client has left", async () => {
    const { visit, begin, stored } = openShop();
    await begin();
    const response = await visit(async (session) => {
      await session.get("n");
      const body = new ReadableStream({
        async cancel() {
          session.set("n", 9);
          await session.save();
        },
      });
      return new Response(body);
    });
    await response.body?.cancel();
    expect(await stored()).toBe(9);
  });

  test("withSession() stores the session when the request was aborted while the handler ran", async () => {
    const { store, jar, begin, stored } = openShop();
    await begin();
    const leaving = new AbortController();
    const handler = withSession<Data>(
      async (_request, session) => {
        await session.update("n", (n = 0) => n + 1);
        leaving.abort();
        return new Response();
      },
      { store },
    );
    const Cookie = jar.header(SHOP) ?? "";
    await handler(new Request(SHOP, { headers: { Cookie }, signal: leaving.signal }));
    expect(await stored()).toBe(2);
  });
});

describe("Storing through waitUntil", () => {
  /** A platform's context that keeps the promises passed to `waitUntil`. */
  function platform() {
    const promises: Promise<unknown>[] = [];
    return { promises, waitUntil: (promise: Promise<unknown>) => void promises.push(promise) };
  }
  const count = async (session: Session<Data>) => {
    session.set("n", (await session.get("n", 0)) + 1);
    return new Response(String(await session.get("n")));
  };
  const options = { persist: "after-response" } as const;

  test.each(["rejects", "hangs", "does it but rejects"] as const)(
    "withSession() tells onEvent alone when the store %s after the response",
    async (fault) => {
      const { store, heard, jar, visit, begin, stored } = openShop({ ...options, storeTimeout: 0.05 });
      await begin();
      const cookie = jar.header(SHOP);
      store.plan({ save: [fault] });
      const context = platform();
      const response = await visit(count, context);
      expect([response.status, await response.text()]).toEqual([200, "2"]);
      expect(context.promises).toHaveLength(1);
      await Promise.all(context.promises);
      await settled();
      expect([heard, unhandled]).toEqual([["loaded", "failed"], []]);
      expect(jar.header(SHOP)).toBe(cookie);
      expect(await stored()).toBe(fault === "does it but rejects" ? 2 : 1);
    },
  );

  test("withSession() answers before the store does when waitUntil is there", async () => {
    const { store, visit, begin, stored } = openShop({ persist: "after-response" });
    await begin();
    store.plan({ save: ["does it late"] });
    const context = platform();
    expect(await (await visit(count, context)).text()).toBe("2");
    await store.release();
    await Promise.all(context.promises);
    expect(await stored()).toBe(2);
  });

  test("withSession() awaits the store, and rejects, when the session is new or is to end", async () => {
    const { store, visit, begin } = openShop(options);
    store.plan({ save: ["rejects"] });
    await expect(visit(count, platform())).rejects.toMatchObject({ code: "ERR_STORE" });
    await begin();
    const steps = {
      save: (session: Session<Data>) => session.regenerate(),
      delete: (session: Session<Data>) => session.destroy(),
    };
    for (const [verb, step] of Object.entries(steps)) {
      store.plan({ [verb]: ["rejects"] });
      const context = platform();
      const visiting = visit(async (session) => {
        await step(session);
        return new Response();
      }, context);
      await expect(visiting).rejects.toMatchObject({ code: "ERR_STORE" });
      expect(context.promises).toEqual([]);
    }
  });

  test("withSession() awaits a new id when a save() that nobody awaits is storing it", async () => {
    const { store, jar, visit, begin } = openShop(options);
    await begin();
    const cookie = jar.header(SHOP);
    store.plan({ save: ["answers late"] });
    const context = platform();
    const visiting = visit(async (session) => {
      await session.regenerate();
      void session.save();
      await settled();
      return new Response();
    }, context);
    await settled();
    await settled();
    await store.release();
    await visiting;
    expect(context.promises).toEqual([]);
    expect(jar.header(SHOP)).not.toBe(cookie);
  });

  test("withSession() sets no cookie when save() has found the session gone", async () => {
    const clock = fakeClock();
    const { jar, visit, begin } = openShop({ ...options, now: clock.now });
    await begin();
    clock.advance(20_000);
    const response = await visit(async (session) => {
      await session.get("n");
      const sent = jar.header(SHOP);
      await visit(async (other) => {
        await other.destroy();
        return new Response();
      }, platform());
      expect(sent).not.toBe("");
      session.set("n", 2);
      await session.save().catch(() => {});
      return new Response();
    }, platform());
    expect(response.headers.getSetCookie()).toEqual([]);
  });

  test("withSession() lets no rejection escape when waitUntil itself throws", async () => {
    const { store, visit, begin } = openShop(options);
    await begin();
    store.plan({ save: ["rejects"] });
    const refusing = {
      waitUntil() {
        throw new TypeError("Too late");
      },
    };
    await visit(count, refusing).catch(() => {});
    await settled();
    expect(unhandled).toEqual([]);
  });
});
