import { Readable } from "node:stream";
import { Response as UndiciResponse } from "undici";
import { afterEach, describe, expect, test, vi } from "vitest";
import { memoryStore, withSession } from "../../mod.ts";
import { applyHeaders, applyPrivacy, keepPrivate } from "../../src/core/response.ts";

const COOKIE = "s=id; Path=/";
const said = (more: Record<string, string> = {}): Headers =>
  new Headers({ "Set-Cookie": COOKIE, "Cache-Control": "no-store", ...more });
/** A response of a class that the runtime does not know, with a stream that it does not know. */
function foreign(
  init: ResponseInit,
  chunks: readonly string[] | null,
): { readonly response: Response; cancelled: unknown } {
  const left = chunks?.map((chunk) => new TextEncoder().encode(chunk));
  const seen: { response: Response; cancelled: unknown } = { response: new Response(), cancelled: undefined };
  const reader = {
    read: async () => ({ done: left?.length === 0, value: left?.shift() }),
    cancel: async (reason: unknown) => void (seen.cancelled = reason),
  };
  const headers = new Headers(init.headers);
  const shape: unknown = {
    status: init.status ?? 200,
    statusText: init.statusText ?? "",
    headers,
    body: left === undefined ? null : { getReader: () => reader },
  };
  seen.response = shape as Response;
  return seen;
}

/** The response with the headers, where it can carry them. */
function applied(response: Response, added: Headers, apply = applyHeaders): Response {
  const answer = apply(response, added);
  if (answer === null) throw new Error("The response can carry no headers");
  return answer;
}

describe("applyHeaders()", () => {
  test("gives a copy, whose body is that of the handler, and leaves the handler's response alone", async () => {
    const response = new Response("body", { status: 201, statusText: "Made", headers: { "X-A": "1" } });
    const copy = applied(response, said());
    expect([copy.status, copy.statusText, copy.headers.get("X-A"), copy.headers.getSetCookie()]).toEqual([
      201,
      "Made",
      "1",
      [COOKIE],
    ]);
    expect([...response.headers.keys()]).toEqual(["content-type", "x-a"]);
    expect(await copy.text()).toBe("body");
  });

  test("tells two clients apart whom a handler answers with one object", () => {
    const notModified = new Response(null, { status: 304 });
    const one = applied(notModified, new Headers({ "Set-Cookie": "s=one" }));
    const two = applied(notModified, new Headers({ "Set-Cookie": "s=two" }));
    expect([one.headers.getSetCookie(), two.headers.getSetCookie()]).toEqual([["s=one"], ["s=two"]]);
    expect([one.status, two.status, notModified.headers.getSetCookie()]).toEqual([304, 304, []]);
  });

  test.each<[string, () => Response, number]>([
    ["a redirect", () => Response.redirect("https://shop.example/next", 303), 303],
    ["a JSON response", () => Response.json({ a: 1 }, { status: 400 }), 400],
    ["an empty response", () => new Response(null, { status: 204 }), 204],
  ])("adds to %s", (_name, make, status) => {
    const response = make();
    const copy = applied(response, said());
    expect(copy.status).toBe(status);
    expect(copy.headers.get("Location")).toBe(response.headers.get("Location"));
    expect(copy.headers.getSetCookie()).toEqual([COOKIE]);
  });

  test("gives null for a network error, which can carry nothing", () => {
    const response = Response.error();
    expect(applyHeaders(response, said())).toBeNull();
    expect(applyPrivacy(response, ["Cookie"])).toBe(response);
  });

  test("tells the client in place of an upgrade, which no constructor makes", () => {
    const upgrade = Object.defineProperty(new Response(), "status", { value: 101 });
    expect(applied(upgrade, said())).toBe(upgrade);
    expect(upgrade.headers.getSetCookie()).toEqual([COOKIE]);
    const frozen = Object.defineProperty(Response.redirect("https://shop.example/"), "status", { value: 101 });
    expect(applyHeaders(frozen, said())).toBeNull();
  });

  test("throws what the constructor throws for a body that was read", async () => {
    const response = new Response("body");
    await response.text();
    expect(() => applied(response, said())).toThrow(TypeError);
  });

  test("keeps other cookies, and replaces those whose names it sets", () => {
    const headers = new Headers();
    for (const line of ["a=1; Path=/", "s=theirs", " s =theirs", "ss=2", "s.1=3", "S=4", "noname"])
      headers.append("Set-Cookie", line);
    const ours = new Headers();
    for (const line of ["s=; Max-Age=0; Domain=shop.example", "s=id", "s~x=5"]) ours.append("Set-Cookie", line);
    expect(applied(new Response(null, { headers }), ours).headers.getSetCookie()).toEqual([
      "a=1; Path=/",
      "ss=2",
      "s.1=3",
      "S=4",
      "noname",
      "s=; Max-Age=0; Domain=shop.example",
      "s=id",
      "s~x=5",
    ]);
  });

  test("replaces what the handler told caches by no-store, and removes what it told single ones", () => {
    const headers = {
      "Cache-Control": "public, max-age=60",
      "CDN-Cache-Control": "max-age=60",
      "Cloudflare-CDN-Cache-Control": "max-age=60",
      "Netlify-CDN-Cache-Control": "max-age=60",
      "Akamai-Cache-Control": "max-age=60",
      "X-LiteSpeed-Cache-Control": "public,max-age=60",
      "Surrogate-Control": "max-age=60",
      "Edge-Control": "max-age=60",
      "X-Accel-Expires": "60",
      "X-Other": "1",
      "X-Cache-Control-Note": "1",
      "X-Surrogate-Control": "1",
      "X-Accel-Expires-Note": "1",
    };
    const copy = applied(new Response(null, { headers }), said());
    expect(Object.fromEntries(copy.headers)).toEqual({
      "cache-control": "no-store",
      "x-other": "1",
      "x-cache-control-note": "1",
      "x-surrogate-control": "1",
      "x-accel-expires-note": "1",
      "set-cookie": COOKIE,
    });
  });

  test("leaves what the handler told caches when nothing says no-store", () => {
    const headers = { "Cache-Control": "public", "CDN-Cache-Control": "max-age=60" };
    const copy = applied(new Response(null, { headers }), new Headers({ "X-A": "1" }));
    expect(Object.fromEntries(copy.headers)).toEqual({
      "cache-control": "public",
      "cdn-cache-control": "max-age=60",
      "x-a": "1",
    });
    const told = applied(new Response(null, { headers }), new Headers({ "Cache-Control": "private" }));
    expect(Object.fromEntries(told.headers)).toEqual({ "cache-control": "public", "cdn-cache-control": "max-age=60" });
    const again = applied(new Response(null, { headers }), new Headers({ "Cache-Control": "private, max-age=5" }));
    expect(again.headers.get("Cache-Control")).toBe("private, max-age=5");
    const revalidated = new Response(null, { headers: { "Cache-Control": "no-cache", "X-Level": "high" } });
    const both = applied(revalidated, new Headers({ "Cache-Control": "private", "X-Level": "private" }));
    expect([both.headers.get("Cache-Control"), both.headers.get("X-Level")]).toEqual(["no-cache, private", "private"]);
  });

  test("adds to Vary, each name once", () => {
    const vary = (theirs: string | undefined, ours: string) =>
      applied(
        new Response(null, theirs === undefined ? {} : { headers: { Vary: theirs } }),
        new Headers({ Vary: ours }),
      ).headers.get("Vary");
    expect(vary(undefined, "Cookie")).toBe("Cookie");
    expect(vary("Accept, cookie", "Cookie, X-Session-Id")).toBe("Accept, cookie, X-Session-Id");
    expect(vary("ACCEPT , COOKIE", "cookie, X-Session-Id")).toBe("ACCEPT , COOKIE, X-Session-Id");
    expect(vary("X-Session-Id", "Cookie, X-Session-Id")).toBe("X-Session-Id, Cookie");
    expect(vary("*", "Cookie")).toBe("*");
  });

  test("exposes a header to scripts of other origins where the handler lets them in", () => {
    const exposed = (headers: Record<string, string>) =>
      applied(new Response(null, { headers }), said({ "Access-Control-Expose-Headers": "X-Session-Id" })).headers.get(
        "Access-Control-Expose-Headers",
      );
    expect(exposed({})).toBeNull();
    expect(exposed({ "Access-Control-Allow-Origin": "*" })).toBe("X-Session-Id");
    const both = { "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag" };
    expect(exposed(both)).toBe("ETag, X-Session-Id");
  });

  test("replaces other headers", () => {
    const copy = applied(
      new Response(null, { headers: { "X-Session-Id": "theirs" } }),
      new Headers({ "X-Session-Id": "ours" }),
    );
    expect(copy.headers.get("X-Session-Id")).toBe("ours");
  });

  test("keeps the headers of a subclass's response", async () => {
    class Page extends Response {
      constructor(text: string) {
        super(`<p>${text}</p>`, { headers: { "Content-Type": "text/html" } });
      }
    }
    const copy = applied(new Page("Hi"), said());
    expect([copy.headers.get("Content-Type"), await copy.text()]).toEqual(["text/html", "<p>Hi</p>"]);
  });
});

describe("a response of another implementation", () => {
  test("is copied when it is undici's", async () => {
    const given: unknown = new UndiciResponse("body", {
      status: 201,
      headers: [
        ["Set-Cookie", "a=1"],
        ["Set-Cookie", "b=2"],
      ],
    });
    const copy = applied(given as Response, said());
    expect([copy.status, copy.headers.getSetCookie(), await copy.text()]).toEqual([
      201,
      ["a=1", "b=2", COOKIE],
      "body",
    ]);
  });

  test("is copied by its shape, with its stream", async () => {
    const { response } = foreign({ status: 203, statusText: "Hm", headers: { "X-A": "1" } }, ["one, ", "two"]);
    const copy = applied(response, said());
    expect([copy.status, copy.statusText, copy.headers.get("X-A")]).toEqual([203, "Hm", "1"]);
    expect(copy.headers.getSetCookie()).toEqual([COOKIE]);
    expect(await copy.text()).toBe("one, two");
  });

  test("hears that nobody reads it any more", async () => {
    const seen = foreign({}, ["one", "two"]);
    await applied(seen.response, said()).body?.cancel("gone");
    expect(seen.cancelled).toBe("gone");
  });

  test("is copied when it has no body, or no getSetCookie", () => {
    const { response } = foreign({ status: 304 }, null);
    expect(applied(response, said()).headers.getSetCookie()).toEqual([COOKIE]);
    const old = foreign({ headers: { "X-A": "1" } }, null).response;
    Object.defineProperty(old.headers, "getSetCookie", { value: undefined });
    const { headers } = applied(old, said());
    expect([headers.get("X-A"), headers.getSetCookie()]).toEqual(["1", [COOKIE]]);
  });

  test("is copied when it has no body at all, as a fetch of another library may make it", () => {
    const { response } = foreign({ status: 200 }, null);
    Object.defineProperty(response, "body", { value: undefined });
    expect(applied(response, said()).body).toBeNull();
  });

  test("keeps each of its cookies once when its headers are this runtime's", () => {
    const { response } = foreign(
      {
        headers: [
          ["Set-Cookie", "a=1"],
          ["Set-Cookie", "b=2"],
        ],
      },
      ["one"],
    );
    expect(applied(response, said()).headers.getSetCookie()).toEqual(["a=1", "b=2", COOKIE]);
  });

  test("keeps each of its cookies when its headers give them as one line to whoever does not ask for them", () => {
    const { response } = foreign({}, null);
    const headers: unknown = {
      *[Symbol.iterator]() {
        yield ["x-a", "1"];
        yield ["set-cookie", "a=1, b=2"];
      },
      getSetCookie: () => ["a=1", "b=2"],
    };
    Object.defineProperty(response, "headers", { value: headers });
    const copy = applied(response, said());
    expect([copy.headers.get("X-A"), copy.headers.getSetCookie()]).toEqual(["1", ["a=1", "b=2", COOKIE]]);
  });

  test("is refused when its body is a stream of another kind, as that of node-fetch is", () => {
    const { response } = foreign({}, null);
    Object.defineProperty(response, "body", { value: Readable.from(["one"]) });
    expect(() => applied(response, said())).toThrow(
      new TypeError(
        "Cannot add the session's headers to a Response of another implementation: its body is not a ReadableStream; " +
          "return a Response of the runtime",
      ),
    );
  });

  test("is refused when its cookies cannot be told apart", async () => {
    const { response } = foreign({ headers: { "Set-Cookie": "a=1" } }, null);
    Object.defineProperty(response.headers, "getSetCookie", { value: undefined });
    const message = /its headers join several lines of Set-Cookie; return a Response of the runtime/;
    expect(() => applied(response, said())).toThrow(message);
    // The end of a request reads them as well, because they may come from a nested handler.
    const store = memoryStore();
    const handler = withSession((_request, session) => (session.set("n", 1), response), { store });
    await expect(handler(new Request("https://shop.example/"))).rejects.toThrow(message);
  });

  test("throws what the constructor throws for a status that no response may have", () => {
    expect(() => applied(foreign({ status: 99 }, null).response, said())).toThrow(RangeError);
  });

  test("is made private in place", () => {
    const { response } = foreign({}, ["one"]);
    expect(applyPrivacy(response, ["Cookie"])).toBe(response);
    expect(response.headers.get("Cache-Control")).toBe("private");
  });
});

describe("applyPrivacy()", () => {
  test("writes into the response when its headers are mutable", () => {
    const response = new Response("body");
    expect(applyPrivacy(response, ["Cookie", "X-Session-Id"])).toBe(response);
    expect([response.headers.get("Vary"), response.headers.get("Cache-Control")]).toEqual([
      "Cookie, X-Session-Id",
      "private",
    ]);
  });

  test("gives a copy when its headers are immutable", () => {
    const response = Response.redirect("https://shop.example/");
    const copy = applyPrivacy(response, ["Cookie"]);
    expect(copy).not.toBe(response);
    expect([copy.status, copy.headers.get("Location")]).toEqual([302, "https://shop.example/"]);
    expect([copy.headers.get("Vary"), copy.headers.get("Cache-Control")]).toEqual(["Cookie", "private"]);
  });
});

describe("keepPrivate()", () => {
  test("leaves a Cache-Control of the handler", () => {
    const headers = new Headers({ "Cache-Control": "no-cache", "Vary": "Accept" });
    keepPrivate(headers, ["Cookie"]);
    expect(Object.fromEntries(headers)).toEqual({ "cache-control": "no-cache", "vary": "Accept, Cookie" });
  });
});

describe("where a runtime finds out the type of a text when it sends it, as Bun does", () => {
  /**
   * A response that sets the type of a text only when it is sent. The argument of its constructor decides, and a clone has
   * the same text.
   */
  class Late extends Response {
    readonly #text: BodyInit | null;
    readonly clones: Late[] = [];

    constructor(body: BodyInit | null = null, init: ResponseInit = {}) {
      super(body, init);
      this.#text = body;
      if (!new Headers(init.headers).has("Content-Type")) this.headers.delete("Content-Type");
    }
    override clone = (): Late => {
      const { status, headers } = this;
      const clone = new Late(this.#text, { status, headers });
      this.clones.push(clone);
      return clone;
    };
  }

  /** Loads the module on such a runtime. */
  async function onLate(): Promise<typeof applyHeaders> {
    vi.resetModules();
    vi.stubGlobal("Response", Late);
    return (await import("../../src/core/response.ts")).applyHeaders;
  }

  afterEach(() => {
    vi.unstubAllGlobals();
    vi.resetModules();
  });

  test("a response without a type is cloned, for a copy would have none, and the other half of its body is let go", async () => {
    const apply = await onLate();
    const response = new Late("body", { status: 201 });
    const copy = applied(response, said(), apply);
    expect([response.clones.length, copy === response.clones[0]]).toEqual([1, true]);
    expect([copy.status, copy.headers.getSetCookie(), await copy.text()]).toEqual([201, [COOKIE], "body"]);
    expect(response.bodyUsed).toBe(true);
    const empty = new Late(null, { status: 204 });
    expect(apply(empty, said())).toBe(empty.clones[0]);
  });

  test("a response whose body cannot be let go any more is cloned all the same", async () => {
    const apply = await onLate();
    const response = new Late("body");
    response.body?.getReader();
    expect(applied(response, said(), apply).headers.getSetCookie()).toEqual([COOKIE]);
    // The runtime reports an unhandled rejection after all microtasks. It would fail the test.
    await new Promise((resolve) => setImmediate(resolve));
  });

  test("a response with a type is copied", async () => {
    const apply = await onLate();
    const response = new Late("body", { headers: { "Content-Type": "text/html" } });
    const copy = applied(response, said(), apply);
    expect([response.clones, copy.headers.get("Content-Type"), await copy.text()]).toEqual([[], "text/html", "body"]);
  });
});

test("where a response has its type at once, it is copied and not cloned", () => {
  const response = new Response(null, { status: 204 });
  const clone = vi.spyOn(response, "clone");
  applied(response, said());
  expect(clone).not.toHaveBeenCalled();
});
