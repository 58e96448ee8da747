import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { type Session, withSession } from "../../../mod.ts";
import { cookieJar } from "../../../src/testing.ts";
import { established } from "../../setup/established.ts";
import { codeOf, idIn, SHOP, visitor } from "../../setup/sessions.ts";

describe.each(["withSession", "Hono"] as const)("Breaking the response, with %s", (through) => {
  const begin = (session: Session): void => session.set("a", 1);

  test.each<[string, () => Response | Promise<Response>]>([
    ["a redirect", () => Response.redirect(`${SHOP}account`, 303)],
    ["a raw Response", () => new Response("raw", { headers: { "X-Own": "1" } })],
    ["an error response", () => new Response("no", { status: 500 })],
    ["a response without a body", () => new Response(null, { status: 204 })],
    ["a fetched response", fetched],
  ])("%s does not lose the cookie", async (_what, respond) => {
    const send = visitor({}, { through });
    const expected = await respond();
    const { response, cookies } = await send((session) => {
      begin(session);
      return respond();
    });
    expect([response.status, await response.text()]).toEqual([expected.status, await expected.text()]);
    expect(cookies).toHaveLength(1);
    expect(idIn(cookies)).toMatch(/^[\w-]{32}$/);
    for (const name of ["Location", "X-Own"]) expect(response.headers.get(name)).toBe(expected.headers.get(name));
  });

  test("no two Set-Cookie have the session's name, and no other is lost or merged", async () => {
    const { settings } = await established();
    const { cookies } = await visitor(settings, { through })(async (session) => {
      session.set("a", 1);
      await session.save();
      await session.regenerate();
      await session.save();
      await session.destroy();
      session.set("b", 2);
      const headers = new Headers([
        ["Set-Cookie", "one=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT"],
        ["Set-Cookie", "two=2"],
      ]);
      return new Response("", { headers });
    });
    expect(cookies.map((line) => line.split("=")[0])).toEqual(["one", "two", "__Host-session"]);
    expect(cookies[0]).toBe("one=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT");
  });

  test("a logout does not leave the cookie, whatever its Path, Domain and Partitioned", async () => {
    const cookie = {
      name: "shop",
      path: "/shop",
      domain: "shop.example",
      sameSite: "None",
      partitioned: true,
    } as const;
    const jar = cookieJar();
    const send = visitor({ cookie }, { jar, through });
    const url = `${SHOP}shop/`;
    await send(begin, { url });
    expect(jar.cookies()).toHaveLength(1);
    const { cookies } = await send((session) => session.destroy(), { url });
    expect(jar.cookies()).toEqual([]);
    for (const part of ["Path=/shop", "Domain=shop.example", "Partitioned", "Secure", "Max-Age=0"]) {
      expect(cookies[0]?.split("; ")).toContain(part);
    }
  });

  test("a cookie that browsers drop is not sent", async () => {
    const send = visitor({ cookie: { name: "n".repeat(4090) } }, { through });
    expect(await codeOf(() => send(begin))).toBe("ERR_COOKIE_TOO_LARGE");
  });

  test("a stream is not held back to set a header", async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const { response, cookies } = await visitor(
      {},
      { through },
    )((session) => {
      begin(session);
      return new Response(readable);
    });
    expect(cookies).toHaveLength(1);
    const writer = writable.getWriter();
    const reader = response.body!.getReader();
    for (const word of ["first", "second"]) {
      const written = writer.write(new TextEncoder().encode(word));
      expect(new TextDecoder().decode((await reader.read()).value)).toBe(word);
      await written;
    }
    const closed = writer.close();
    expect((await reader.read()).done).toBe(true);
    await closed;
  });
});

test("Breaking the response: an upgrade to another protocol does not fail", async () => {
  // Node cannot make such a Response. In workerd, the answer to an upgrade is one.
  const upgrade = new Proxy(new Response(null), {
    get: (target, name) => (name === "status" ? 101 : Reflect.get(target, name, target)),
  });
  const handle = withSession(async (_request, session) => {
    await session.get("a");
    return upgrade;
  });
  expect((await handle(new Request(SHOP))).status).toBe(101);
});
/** A response that a client has received from a server: its headers are immutable. */
async function fetched(): Promise<Response> {
  const server = createServer((_request, response) => response.setHeader("X-Own", "far").end("from afar"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const response = await fetch(`http://127.0.0.1:${port}/`);
  expect(() => response.headers.set("X-Own", "1")).toThrow(TypeError);
  return response;
}
