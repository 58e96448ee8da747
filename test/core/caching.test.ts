import { describe, expect, test } from "vitest";
import { memoryStore, type Plugin, type Session } from "../../mod.ts";
import { visitor } from "../setup/sessions.ts";

const MADE_UP = "a".repeat(32);
const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");
const destroy = (session: Session): Promise<void> => session.destroy();

describe("what caches are told", () => {
  const withHeaders =
    (headers: Record<string, string>) =>
    async (session: Session): Promise<Response> => {
      await session.get("a");
      return new Response("Hello", { headers });
    };

  test("a response that carries Set-Cookie gets no-store, whatever the handler said", async () => {
    const visit = visitor();
    for (const use of [set, (session: Session) => session.regenerate(), destroy]) {
      const { response } = await visit(async (session) => {
        await use(session);
        return new Response("Hello", { headers: { "Cache-Control": "public, max-age=600" } });
      });
      expect(response.headers.get("Cache-Control")).toBe("no-store");
    }
  });

  test("a response that carries the id header gets no-store", async () => {
    const { response } = await visitor({ header: "X-Id" })(set, { headers: { "X-Id": "" } });
    expect(response.headers.get("Cache-Control")).toBe("no-store");
  });

  test.each([
    ["was only read", get],
    ["was only asked for has()", (session) => session.has("a")],
    ["was only asked for its id", (session) => session.id()],
    ["was only asked for info()", (session) => session.info()],
    ["was written", (session) => session.set("a", Math.random())],
  ] as [string, (session: Session) => unknown][])("one whose live session %s gets Vary and private", async (_, use) => {
    const visit = visitor();
    await visit(set);
    const { response } = await visit(use);
    expect(response.headers.get("Vary")).toBe("Cookie");
    expect(response.headers.get("Cache-Control")).toBe("private");
  });

  test("one whose session was read without an id gets Vary and private as well", async () => {
    const { response } = await visitor({ header: "X-Id" })(get);
    expect(response.headers.get("Vary")?.split(/, */)).toEqual(["Cookie", "X-Id"]);
    expect(response.headers.get("Cache-Control")).toBe("private");
  });

  test("one to which a plugin adds headers gets Vary and private as well, unless the plugin or the handler says otherwise", async () => {
    const plugin = (headers: Record<string, string>): Plugin => ({
      name: "each",
      respond: (added) => Object.entries(headers).forEach((each) => added.set(...each)),
    });
    const told = async (own: Record<string, string>, ofHandler: Record<string, string>): Promise<unknown> => {
      const { response } = await visitor({ plugins: [plugin({ "X-Own": "1", ...own })] })(withHeaders(ofHandler));
      return ["X-Own", "Cache-Control", "Vary"].map((name) => response.headers.get(name));
    };
    expect(await told({}, {})).toEqual(["1", "private", "Cookie"]);
    expect(await told({}, { "Cache-Control": "max-age=5", "Vary": "Accept" })).toEqual([
      "1",
      "max-age=5",
      "Accept, Cookie",
    ]);
    expect(await told({ "Cache-Control": "no-store" }, { "Cache-Control": "max-age=5" })).toEqual([
      "1",
      "no-store",
      null,
    ]);
  });

  test("one that was read under the id header varies on that", async () => {
    const options = { header: "X-Id", store: memoryStore() };
    const first = await visitor(options)(set, { headers: { "X-Id": "" } });
    const { response } = await visitor(options)(get, { headers: { "X-Id": first.response.headers.get("X-Id") ?? "" } });
    expect(response.headers.get("Vary")).toContain("X-Id");
  });

  test("a Cache-Control of the handler's own stays when the session was only read", async () => {
    const { response } = await visitor()(withHeaders({ "Cache-Control": "max-age=5" }));
    expect(response.headers.get("Cache-Control")).toBe("max-age=5");
    expect(response.headers.get("Vary")).toBe("Cookie");
  });

  test.each([
    ["Accept", "Accept, Cookie"],
    ["cookie", "cookie"],
    ["Accept, COOKIE", "Accept, COOKIE"],
    ["*", "*"],
  ])("a Vary of %s becomes %s", async (before, after) => {
    const { response } = await visitor()(withHeaders({ Vary: before }));
    expect(response.headers.get("Vary")).toBe(after);
  });

  test.each([
    ["a new session", set, ""],
    ["a session that ends", destroy, MADE_UP],
  ] as [string, (session: Session) => unknown, string][])(
    "[18] the id header of %s is exposed to other origins where the response lets them in, and nowhere else",
    async (_, use, id) => {
      const respond =
        (headers: Record<string, string>) =>
        async (session: Session): Promise<Response> => {
          await use(session);
          return new Response("Hello", { headers });
        };
      const exposed = async (headers: Record<string, string>): Promise<string | null> => {
        const { response } = await visitor({ header: "X-Id" })(respond(headers), { headers: { "X-Id": id } });
        return response.headers.get("Access-Control-Expose-Headers");
      };
      const allowed = { "Access-Control-Allow-Origin": "https://app.example" };
      expect(await exposed(allowed)).toBe("X-Id");
      expect(await exposed({ ...allowed, "Access-Control-Expose-Headers": "ETag" })).toBe("ETag, X-Id");
      expect(await exposed({ ...allowed, "Access-Control-Expose-Headers": "x-id" })).toBe("x-id");
      expect(await exposed({})).toBe(null);
    },
  );

  test("[18] nothing is exposed when the cookie answers", async () => {
    const { response } = await visitor({ header: "X-Id" })((session) => {
      set(session);
      return new Response("Hello", { headers: { "Access-Control-Allow-Origin": "https://app.example" } });
    });
    expect(response.headers.has("Access-Control-Expose-Headers")).toBe(false);
  });
});
