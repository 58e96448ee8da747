import { expect, test } from "vitest";
import country, { countryPlugin } from "../../examples/country_plugin.ts";
import { type SessionEvent, SessionManager, withSession } from "../../mod.ts";
import { encryption } from "../../src/encryption.ts";
import { cookieJar, type CookieJar } from "../../src/testing.ts";

const SHOP = "https://shop.example/";

function visit(jar: CookieJar, from?: string): Promise<Response> {
  return jar.fetch(country.fetch, SHOP, { headers: from === undefined ? {} : { "CF-IPCountry": from } });
}

test("countryPlugin() ignores a session when it is presented from another country, and takes it at home again", async () => {
  const jar = cookieJar();
  expect(await (await visit(jar, "DE")).text()).toBe("Visit 1\n");
  expect(await (await visit(jar, "DE")).text()).toBe("Visit 2\n");
  const [own] = jar.cookies();

  const abroad = cookieJar();
  abroad.store(SHOP, new Response(null, { headers: { "Set-Cookie": cookieLine(own?.value) } }));
  const response = await visit(abroad, "FR");
  expect(await response.text()).toBe("Visit 1\n");
  expect(abroad.cookies()[0]?.value).not.toBe(own?.value);

  expect(await (await visit(jar, "DE")).text()).toBe("Visit 3\n");
});

test("countryPlugin() ignores a session when the header is missing", async () => {
  const jar = cookieJar();
  await visit(jar, "DE");
  expect(await (await visit(jar)).text()).toBe("Visit 1\n");
});

test("countryPlugin() lets a session pass when it began without a country", async () => {
  const jar = cookieJar();
  await visit(jar);
  expect(await (await visit(jar, "FR")).text()).toBe("Visit 2\n");
});

test("countryPlugin() says why, keeps the country of a session that is regenerated, and leaves the cookie alone", async () => {
  const events: SessionEvent[] = [];
  const sessions = new SessionManager<{ user: string }>({
    plugins: [countryPlugin("Country")],
    encryption: encryption(),
    onEvent: (event) => events.push(event),
  });
  const jar = cookieJar();
  const send = (from: string, handler: Parameters<typeof withSession<{ user: string }>>[0]): Promise<Response> =>
    jar.fetch(withSession<{ user: string }>(handler, sessions), SHOP, { headers: { Country: from } });

  await send("DE", async (_request, session) => {
    await session.create();
    return new Response();
  });
  await send("DE", async (_request, session) => {
    await session.regenerate();
    session.set("user", "ada");
    return new Response();
  });
  const read = async (from: string): Promise<unknown> =>
    await (
      await send(from, async (_request, session) =>
        Response.json([await session.get("user", "nobody"), (await session.info()).ended]),
      )
    ).json();
  expect(await read("FR")).toEqual(["nobody", "country"]);
  expect(events).toContainEqual(expect.objectContaining({ type: "rejected", reason: "country" }));
  expect(await read("DE")).toEqual(["ada", null]);
});

test("countryPlugin() lets a session pass when it is opened by its id, without a request", async () => {
  const sessions = new SessionManager<{ user: string }>({ plugins: [countryPlugin("Country")] });
  const session = sessions.start(new Request(SHOP, { headers: { Country: "DE" } }));
  session.set("user", "ada");
  await session.save();
  const id = (await session.id()) ?? "";
  expect(await sessions.open(id).get("user")).toBe("ada");
});

function cookieLine(value: string | undefined): string {
  return `__Host-session=${value}; Path=/; Secure; HttpOnly`;
}
