import { expect, test } from "vitest";
import { run } from "./setup/command.ts";

const PROGRAM = `
  import { withSession } from "./mod.ts";
  const fetchHandler = withSession(async (_request, session) => (await session.start(), new Response("hi")));
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: fetchHandler });
  const response = await fetch(server.url);
  console.log(response.headers.get("Content-Type"), response.headers.getSetCookie().length, await response.text());
  server.stop();
`;

test("withSession() leaves a text its Content-Type when Bun serves it", async () => {
  const { stdout } = await run("bun", ["-e", PROGRAM]);
  expect(stdout.trim()).toBe("text/plain;charset=utf-8 1 hi");
});
