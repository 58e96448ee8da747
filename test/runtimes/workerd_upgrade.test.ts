import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorker } from "../setup/workerd.ts";
import { cookieIn } from "./handshake.ts";

let worker: Miniflare;
beforeAll(async () => {
  worker = await startWorker(new URL("upgrade.worker.ts", import.meta.url), { kvNamespaces: ["KV"] });
});
afterAll(() => worker.dispose());

/** Opens a WebSocket, sends one message, and waits for the answer. */
async function shake(
  path: string,
  cookie: string = "",
): Promise<{ status: number; cookies: string[]; message: string }> {
  const headers = { Upgrade: "websocket", Cookie: cookie };
  const { status, headers: said, webSocket } = await worker.dispatchFetch(`https://shop.example${path}`, { headers });
  if (webSocket === null) throw new Error("The Worker has not answered with a WebSocket");
  const message = new Promise<string>((resolve) =>
    webSocket.addEventListener("message", ({ data }) => resolve(String(data))),
  );
  webSocket.accept();
  webSocket.send("now");
  const answer = { status, cookies: said.getSetCookie(), message: await message };
  webSocket.close();
  return answer;
}

test("withSession() keeps the WebSocket of a Worker's response, and tells the client its cookie, when the session is new", async () => {
  const { status, cookies, message } = await shake("/set");
  expect([status, message]).toEqual([101, "5"]);
  expect(cookies).toEqual([
    expect.stringMatching(/^__Host-session=[\w-]{32}; Max-Age=86400; Path=\/; Secure; HttpOnly; SameSite=Lax$/),
  ]);
  expect(await shake("/first", cookieIn(cookies))).toEqual({ status: 101, cookies: [], message: "5" });
});

test("withSession() keeps the WebSocket when the session was read, touched, or regenerated before", async () => {
  const cookie = cookieIn((await shake("/set")).cookies);
  expect(await shake("/read", cookie)).toEqual({ status: 101, cookies: [], message: "5" });
  expect(await shake("/touch", cookie)).toEqual({
    status: 101,
    cookies: [expect.stringContaining(cookie)],
    message: "5",
  });
  const renewed = await shake("/regenerate", cookie);
  expect(renewed).toMatchObject({ status: 101, message: "5" });
  expect(cookieIn(renewed.cookies)).not.toBe(cookie);
  expect(await shake("/read", cookieIn(renewed.cookies))).toMatchObject({ message: "5" });
});

test("update() commits at once when a message comes, and is refused when there is no session to tell the client of", async () => {
  const cookie = cookieIn((await shake("/set")).cookies);
  expect(await shake("/update", cookie)).toEqual({ status: 101, cookies: [], message: "6" });
  expect(await shake("/read", cookie)).toMatchObject({ message: "6" });
  expect(await shake("/update")).toEqual({ status: 101, cookies: [], message: "ERR_RESPONSE_SENT" });
});
