import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { memoryStore, type Session, SessionManager, type SessionStore, withSession } from "../../mod.ts";
import { fileStore } from "../../src/stores/file.ts";
import { cookieJar, faultyStore } from "../../src/testing.ts";
import {
  altered,
  codeOf,
  cookieOf,
  counted,
  gate,
  openStore,
  SHOP,
  soon,
  temporaryDirectory,
  visitor,
} from "../setup/sessions.ts";

const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");

describe("responses", () => {
  test("the handler's very Response comes back when nobody touched the session, with an id or without", async () => {
    const store = memoryStore();
    const { cookies } = await visitor({ store })(set);
    const mine = new Response("Hello");
    const handle = withSession(() => mine, { store });
    for (const headers of [{}, { Cookie: cookieOf({ cookies }) }, { Cookie: "__Host-session=junk" }]) {
      expect(await handle(new Request(SHOP, { headers }))).toBe(mine);
    }
    expect([...mine.headers.keys()]).toEqual(["content-type"]);
  });

  test("a redirect gets the cookie, its status and Location kept", async () => {
    const { response, cookies } = await visitor()(
      (session) => (set(session), Response.redirect(`${SHOP}account`, 303)),
    );
    expect([response.status, response.headers.get("Location"), cookies.length]).toEqual([303, `${SHOP}account`, 1]);
  });

  test("a fetched response gets the cookie, although its headers are immutable", async () => {
    const fetched = await fetch("data:text/plain,Hello");
    expect(() => fetched.headers.set("a", "b")).toThrow(TypeError);
    const { response, cookies } = await visitor()((session) => (set(session), fetched));
    expect([response.status, await response.text(), cookies.length]).toEqual([200, "Hello", 1]);
    expect(response.headers.get("Content-Type")).toContain("text/plain");
  });

  test.each([204, 205, 304])("a response with status %i and no body gets the cookie", async (status) => {
    const { response, cookies } = await visitor()(
      (session) => (set(session), new Response(null, { status, headers: { ETag: "x" } })),
    );
    expect([response.status, response.body, response.headers.get("ETag"), cookies.length]).toEqual([
      status,
      null,
      "x",
      1,
    ]);
  });

  test.each([400, 404, 500, 503])(
    "an error response with status %i gets the cookie, and the session is stored",
    async (status) => {
      const visit = visitor();
      const { response, cookies } = await visit(
        (session) => (set(session), new Response("No", { status, statusText: "Because" })),
      );
      expect([response.status, response.statusText, await response.text(), cookies.length]).toEqual([
        status,
        "Because",
        "No",
        1,
      ]);
      expect((await visit(get)).result).toBe(1);
    },
  );

  test("Response.error() comes back as it is, since nothing can be put on it", async () => {
    const failure = Response.error();
    expect((await visitor()((session) => (set(session), failure))).response).toBe(failure);
  });

  test("a stream is passed on as it comes, with the cookie ahead of it", async () => {
    const end = gate();
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode("first"));
        await end.opened;
        controller.enqueue(new TextEncoder().encode("last"));
        controller.close();
      },
    });
    const { response, cookies } = await visitor()((session) => (set(session), new Response(body)));
    expect(cookies).toHaveLength(1);
    const reader = response.body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("first");
    end.open();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("last");
    expect((await reader.read()).done).toBe(true);
  });

  test("cancelling the response cancels the handler's stream", async () => {
    let reason: unknown;
    const body = new ReadableStream({ cancel: (why) => void (reason = why) });
    const { response } = await visitor()((session) => (set(session), new Response(body)));
    await response.body!.cancel("closed");
    expect(reason).toBe("closed");
  });

  test("save() works while a body is streamed, for a session that exists", async () => {
    const visit = visitor();
    await visit(set);
    const { response } = await visit((session) => {
      const body = new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            session.set("a", 2);
            await session.save();
            controller.close();
          },
        },
        { highWaterMark: 0 },
      );
      return new Response(body);
    });
    expect((await visit(get)).result).toBe(1);
    await response.text();
    expect((await visit(get)).result).toBe(2);
  });

  test("a Response shared between requests is copied: no client gets another's cookie", async () => {
    const shared = new Response(null, { status: 204 });
    const handle = withSession((_request, session) => (set(session), shared));
    const [one, other] = await Promise.all([handle(new Request(SHOP)), handle(new Request(SHOP))]);
    expect([...shared.headers]).toEqual([]);
    expect(one!.headers.getSetCookie()).toHaveLength(1);
    expect(other!.headers.getSetCookie()).toHaveLength(1);
    expect(one!.headers.getSetCookie()).not.toEqual(other!.headers.getSetCookie());
  });

  test("a handler that throws stores nothing, and its error comes out as it is", async () => {
    const { store, calls } = counted(memoryStore());
    const failure = new Error("no");
    await expect(
      visitor({ store })((session) => {
        set(session);
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect(calls).toEqual([]);
  });

  test.each<[string, SessionStore]>([
    ["answers at once", memoryStore()],
    ["answers later", openStore().store],
  ])(
    "a pull() that is under way when the handler throws takes nothing out of a store that %s",
    async (_when, store) => {
      const visit = visitor({ store });
      await visit((session) => session.set("n", 1));
      const pulled: Promise<unknown>[] = [];
      const failing = visit((session) => {
        pulled.push(session.pull("n"));
        throw new Error("no");
      });
      await expect(failing).rejects.toThrow("no");
      await Promise.allSettled(pulled);
      expect((await visit((session) => session.get("n"))).result).toBe(1);
    },
  );

  test("what a handler recorded before it threw is not stored with a change that comes later", async () => {
    const visit = visitor({ store: openStore().store });
    await visit((session) => session.set("n", 1));
    const held: Session[] = [];
    const failing = visit(async (session) => {
      held.push(session);
      session.set("n", (await session.get("n")) + 1);
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    for (const session of held) {
      session.set("audit", "failed");
      await session.save();
    }
    expect((await visit((session) => session.all())).result).toEqual({ n: 1, audit: "failed" });
  });

  test("what could not be stored with the response is stored by a save() that comes later", async () => {
    const store = faultyStore(memoryStore());
    const visit = visitor({ store });
    await visit((session) => session.set("n", 1));
    const held: Session[] = [];
    store.plan({ save: ["rejects", "rejects"] });
    const failing = visit((session) => (session.set("n", 2), void held.push(session)));
    expect(await codeOf(() => failing)).toBe("ERR_STORE");
    store.plan({});
    for (const session of held) await session.save();
    expect((await visit((session) => session.get("n"))).result).toBe(2);
  });

  test("[36] what is returned has been stored", async () => {
    const { store, records } = openStore();
    await visitor({ store })(set);
    expect(records.size).toBe(1);
  });
});

test("withSession() stores the session and passes undefined on when the handler answers it", async () => {
  const { store, records } = openStore();
  const upgraded = withSession((_request, session) => set(session), { store });
  expect(await upgraded(new Request(SHOP))).toBe(undefined);
  expect(records.size).toBe(1);
});

test.each<[unknown, string]>([
  [null, "null"],
  [{}, "an object of another kind"],
  [{ status: 200 }, "an object of another kind"],
  [{ headers: new Headers() }, "an object of another kind"],
  ["Hello", "a string"],
  [7, "a number"],
  [false, "a boolean"],
])("withSession() stores nothing when the handler answers %j, and says what it was", async (answer, kind) => {
  const { store, calls } = counted(memoryStore());
  const handler = withSession((_request, session) => (set(session), answer as Response), { store });
  await expect(handler(new Request(SHOP))).rejects.toThrow(
    new TypeError(`The handler of withSession must return a Response; it returned ${kind}, and nothing was stored`),
  );
  expect(calls).toEqual([]);
});

test("withSession() has taken back a new id that no response carries when it rejects", async () => {
  let [isSlow, underWay] = [false, 0];
  const slowly = async <Answer>(call: () => Answer): Promise<Awaited<Answer>> => {
    underWay++;
    if (isSlow) await soon(0);
    const answer = await call();
    underWay--;
    return answer;
  };
  const store = altered(openStore().store, {
    save: (save, ...args) => slowly(() => save(...args)),
    delete: (remove, ...args) => slowly(() => remove(...args)),
  });
  const sessions = new SessionManager({ store });
  const session = sessions.start(new Request(SHOP));
  set(session);
  const { headers } = await sessions.respond(session, new Response());
  const id = (await session.id()) ?? "";
  const failure = new Error("no");
  const handler = withSession(async (_request, own) => {
    await own.regenerate();
    await own.save();
    isSlow = true;
    throw failure;
  }, sessions);
  const Cookie = headers.getSetCookie()[0]?.split(";")[0] ?? "";
  await expect(handler(new Request(SHOP, { headers: { Cookie } }))).rejects.toBe(failure);
  expect(underWay).toBe(0);
  expect(await get(sessions.open(id))).toBe(1);
});

test("withSession() loads the session before the handler with load: eager, and else when the handler reads it", async () => {
  for (const [load, expected] of [
    ["eager", ["load"]],
    ["lazy", []],
  ] as const) {
    for (const plugins of [[], [{ name: "door", answer: () => undefined }]]) {
      const { store, calls } = counted(openStore().store);
      const visit = visitor({ store, load, plugins });
      await visit(set);
      calls.length = 0;
      const { result } = await visit(() => [...calls]);
      expect(result).toEqual(expected);
    }
  }
});

test.each([undefined, null, {}, "handler", new SessionManager()])(
  "withSession() throws a TypeError when it gets %j in place of a handler",
  (handler) => {
    expect(() => Reflect.apply(withSession, undefined, [handler])).toThrow(/^withSession needs a handler/);
  },
);

test.each([
  ["a request of Node", new IncomingMessage(new Socket())],
  ["nothing", undefined],
  ["null", null],
  ["an address", SHOP],
  ["a context, as Hono's", { req: { raw: new Request(SHOP) } }],
  ["an event, as h3's", { req: new Request(SHOP), headers: new Headers(), url: new URL(SHOP) }],
  ["an event, as Qwik City's", { request: new Request(SHOP), headers: new Headers(), url: new URL(SHOP) }],
])("a handler of withSession() refuses %s, and says what it takes", async (_name, request) => {
  let isCalled = false;
  const handler = withSession(() => void (isCalled = true));
  await expect(Reflect.apply(handler, undefined, [request])).rejects.toThrow(
    new TypeError("A handler of withSession takes a Request; for requests of Node there is nodeSession"),
  );
  expect(isCalled).toBe(false);
});

test("a handler of withSession() takes a Request with a property that throws, as that of a Next.js proxy", async () => {
  class ProxyRequest extends Request {
    get request(): never {
      throw new TypeError("no");
    }
  }
  expect((await withSession(() => new Response("ok"))(new ProxyRequest(SHOP))).status).toBe(200);
});

describe("stores", () => {
  test("[20] [25] [26] changing the store is changing one option, for one of the project's or of one's own", async () => {
    const shop = (store: SessionStore): Promise<unknown> => {
      const visit = visitor({ store });
      return visit(set)
        .then(() => visit(async (session) => session.update("a", (a) => a + 1)))
        .then(() => visit(get))
        .then(({ result }) => result);
    };
    for (const store of [memoryStore(), fileStore({ directory: await temporaryDirectory() }), openStore().store]) {
      expect(await shop(store)).toBe(2);
    }
  });

  test("[20] [21] [28] memory is gone after a restart, a folder is not", async () => {
    const directory = await temporaryDirectory();
    for (const [open, expected] of [
      [() => memoryStore(), undefined],
      [() => fileStore({ directory }), 1],
    ] as const) {
      const jar = cookieJar();
      await visitor({ store: open() }, { jar })(set);
      expect((await visitor({ store: open() }, { jar })(get)).result).toBe(expected);
    }
  });

  test("[58] one manager serves all requests at once, each with its own session", async () => {
    const sessions = new SessionManager();
    const names = Array.from({ length: 50 }, (_, n) => `client ${n}`);
    const seen = await Promise.all(
      names.map(async (name) => {
        const visit = visitor(sessions);
        await visit((session) => session.set("name", name));
        return (await visit((session) => session.get("name"))).result;
      }),
    );
    expect(seen).toEqual(names);
  });

  test("[59] withSession(handler) alone works, and two of them share nothing", async () => {
    const wrap = () =>
      withSession(async (_request, session) => new Response(String(await session.update("n", (n = 0) => n + 1))));
    const [one, other] = [wrap(), wrap()];
    const first = await one(new Request(SHOP));
    const headers = { Cookie: cookieOf({ cookies: first.headers.getSetCookie() }) };
    expect(await (await one(new Request(SHOP, { headers }))).text()).toBe("2");
    expect(await (await other(new Request(SHOP, { headers }))).text()).toBe("1");
  });
});
