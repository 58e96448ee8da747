import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cookieIn, type Handshake, shakeHands } from "./runtimes/handshake.ts";
import { ROOT, run } from "./setup/command.ts";

const PROGRAM = `
  import { withSession } from "./mod.ts";
  const fetchHandler = withSession(async (_request, session) => (await session.create(), new Response("hi")));
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: fetchHandler });
  const response = await fetch(server.url);
  console.log(response.headers.get("Content-Type"), response.headers.getSetCookie().length, await response.text());
  server.stop();
`;

test("withSession() leaves a text its Content-Type when Bun serves it", async () => {
  const { stdout } = await run("bun", ["-e", PROGRAM]);
  expect(stdout.trim()).toBe("text/plain;charset=utf-8 1 hi");
});

let port: number;
let stop: () => Promise<void>;

beforeAll(async () => {
  const bun = join(ROOT, "node_modules/.bin/bun");
  const child = spawn(bun, ["test/runtimes/bun_server.ts"], { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  for await (const line of createInterface(child.stdout)) {
    port = Number(/^port (\d+)$/.exec(line)?.[1]);
    break;
  }
  stop = async () => {
    child.kill();
    await exited;
  };
});
afterAll(() => stop());

const shake = (path: string, cookie?: string): Promise<Handshake> => shakeHands(port, path, cookie);

async function visit(path: string, cookie: string = ""): Promise<{ cookie: string; answer: unknown }> {
  const response = await fetch(`http://localhost:${port}${path}`, { headers: { Cookie: cookie } });
  expect(response.status).toBe(200);
  return { cookie: cookieIn(response.headers.getSetCookie()), answer: await response.json() };
}

test("withSession() passes undefined on after server.upgrade() of Bun, and the session is stored", async () => {
  const { cookie } = await visit("/begin");
  expect(await shake("/upgrade/set", cookie)).toMatchObject({ status: 101, message: "8" });
  expect(await shake("/upgrade/touch", cookie)).toMatchObject({ status: 101, message: "8" });
  expect(await shake("/upgrade/first", cookie)).toMatchObject({ status: 101, message: "8" });
  expect(await shake("/upgrade/update", cookie)).toMatchObject({ status: 101, message: "9" });
});

test("regenerate() before server.upgrade() of Bun leaves the client the id that it holds: it cannot be told another", async () => {
  const { cookie } = await visit("/begin");
  expect(await shake("/upgrade/regenerate", cookie)).toMatchObject({ status: 101, cookies: [] });
  expect(await shake("/upgrade/first", cookie)).toMatchObject({ status: 101, message: "5" });
});

test("withSession() answers a request of Bun that is no handshake after all", async () => {
  const response = await fetch(`http://localhost:${port}/upgrade/first`);
  expect([response.status, await response.text()]).toEqual([400, "This is no handshake"]);
});

test("get() finds the session when Bun has sent the response 200 ms before the first use", async () => {
  const { cookie } = await visit("/begin");
  await visit("/late", cookie);
  await visit("/late/update", cookie);
  await visit("/late");
  expect((await visit("/heard")).answer).toEqual([5, 6, null]);
});
