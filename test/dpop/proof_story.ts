/**
 * A sequence of requests with both plugins, for every runtime. Server and client are in one process, without a network.
 *
 * @module
 */
import { withSession } from "../../mod.ts";
import { deviceBound } from "../../src/device_bound.ts";
import { dpop } from "../../src/dpop.ts";
import { dpopClient } from "../../src/dpop_client.ts";
import { Browser, deviceKey, ORIGIN } from "../device_bound/browser.ts";

/** What each of the two plugins answers at the important points. */
export interface Story {
  readonly dpop: readonly string[];
  readonly deviceBound: readonly string[];
}

export const EXPECTED: Story = {
  dpop: ["1 null", "2 null", "none proof", "401 3 null"],
  deviceBound: ["1 null", "2 null", "none proof", "3 null"],
};

/** Sends the requests. */
export async function story(): Promise<Story> {
  let now = Date.now();
  const handler = withSession<{ n?: number }>(
    async (request, session) => {
      if (request.method === "POST") await session.update("n", (n = 0) => n + 1);
      return new Response(`${(await session.get("n")) ?? "none"} ${(await session.info()).ended}`);
    },
    { header: "X-Session-Id", plugins: [dpop(), deviceBound()], now: () => now },
  );
  const statuses: number[] = [];
  let stolen = "";
  const api = dpopClient(ORIGIN, {
    now: () => now,
    fetch: async (request) => {
      stolen = request.headers.get("X-Session-Id") ?? "";
      const response = await handler(request);
      statuses.push(response.status);
      return response;
    },
  });
  const post = { method: "POST" };
  const texts = [await (await api.fetch("/", post)).text(), await (await api.fetch("/", post)).text()];
  texts.push(await (await handler(new Request(ORIGIN, { headers: { "X-Session-Id": stolen } }))).text());
  now += 700_000;
  texts.push(`${await (await api.fetch("/", post)).text()}`);
  texts[3] = `${statuses.at(-2)} ${texts[3]}`;

  const browser = new Browser(handler, await deviceKey(), () => now);
  const pages = [await (await browser.fetch("/", post)).text(), await (await browser.fetch("/", post)).text()];
  const cookie = browser.jar.header(ORIGIN) ?? "";
  now += 700_000;
  pages.push(await (await handler(new Request(ORIGIN, { headers: { Cookie: cookie } }))).text());
  pages.push(await (await browser.fetch("/", post)).text());
  return { dpop: texts, deviceBound: pages };
}
