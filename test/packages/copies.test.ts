import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { join } from "node:path";
import { createProject, deleteProjects, emptyProject, mustRun, type Project, tarball, tools } from "./project.ts";

/** Lines of a program that request a page from a handler, and then another page with the cookie. */
const ASK = `
async function visit(handle, make = (cookie) => new Request("https://shop.example/", { headers: cookie ? { cookie } : {} })) {
  const first = await handle(make());
  const cookie = first.headers.get("set-cookie").split(";")[0];
  return await (await handle(make(cookie))).text();
}`;

let project: Project;

beforeAll(async () => {
  project = await createProject("copies", {
    "copy": `file:${await tarball()}`,
    "hono": "4.13.19",
    "hono-of-copy": "npm:hono@4.12.0",
    "undici": "8.13.1",
    "@whatwg-node/server": "0.13.0",
  });
});
afterAll(deleteProjects);

/** Runs a program in the project. */
async function program(text: string): Promise<string> {
  await project.write({ "program.mjs": text + ASK });
  return (await mustRun(project.run("node", "program.mjs"))).trim();
}

describe("two copies of the package", () => {
  test("are two modules", async () => {
    expect(
      await program(
        `import * as a from "with-session"; import * as b from "copy"; console.log(a.SessionManager === b.SessionManager);`,
      ),
    ).toBe("false");
  });

  test("withSession() of one takes a SessionManager of the other, with its store and options", async () => {
    const text = await program(`
      import { withSession } from "with-session";
      import { SessionManager, memoryStore } from "copy";
      const store = memoryStore();
      const sessions = new SessionManager({ store, cookie: { name: "__Host-shop" } });
      const handle = withSession(async (_request, session) => new Response("Visit " + (await session.update("visits", (n = 0) => n + 1))), sessions);
      const first = await handle(new Request("https://shop.example/"));
      const cookie = first.headers.get("set-cookie");
      const id = cookie.split(";")[0].split("=")[1];
      console.log(await visit(handle), cookie.startsWith("__Host-shop="), await sessions.open(id).get("visits"));`);
    expect(text).toBe("Visit 2 true 1");
  });

  test("the middleware for Hono of one takes a SessionManager of the other, in an app of another Hono", async () => {
    const text = await program(`
      import { Hono } from "hono-of-copy";
      import { session } from "with-session/hono";
      import { SessionManager } from "copy";
      const app = new Hono();
      app.use(session(new SessionManager({ cookie: { name: "__Host-shop" } })));
      app.get("/", async (c) => c.text("Visit " + (await c.var.session.update("visits", (n = 0) => n + 1))));
      console.log(await visit((request) => app.fetch(request)));`);
    expect(text).toBe("Visit 2");
  });

  test("users.bind() of one takes a session of the other", async () => {
    const text = await program(`
      import { SessionManager, withSession } from "with-session";
      import { userSessions } from "copy/user-sessions";
      const users = userSessions();
      const handle = withSession(async (_request, session) => {
        if (!(await session.has("user"))) {
          session.set("user", "ada");
          await users.bind(session, "ada");
          return new Response();
        }
        return new Response((await users.handle(session)) === (await users.list("ada"))[0].handle ? "the same" : "another");
      }, new SessionManager({ plugins: [users] }));
      console.log(await visit(handle));`);
    expect(text).toBe("the same");
  });

  test("csrf, exclusive and isFresh of one take a session of the other", async () => {
    const text = await program(`
      import { withSession } from "with-session";
      import { isFresh } from "copy";
      import { csrfToken, verifyCsrfToken } from "copy/csrf";
      import { exclusive } from "copy/exclusive";
      const handle = withSession(async (_request, session) => {
        if ((await session.id()) === null) await session.create();
        const token = await csrfToken(session);
        const value = await exclusive(session, "token", (n = 0) => n + 1);
        return new Response([await verifyCsrfToken(session, token), value, await isFresh(session, 60)].join(" "));
      });
      console.log(await visit(handle));`);
    expect(text).toBe("true 2 false");
  });

  test("an error of one is told by its name and code", async () => {
    const text = await program(`
      import { withSession } from "with-session";
      import { memoryStore } from "copy";
      const store = { ...memoryStore(), load() { throw new Error("down"); } };
      const handle = withSession(async (_request, session) => new Response(await session.get("user")), { store });
      const cookie = "__Host-session=" + "a".repeat(32);
      await handle(new Request("https://shop.example/", { headers: { cookie } })).catch((error) => console.log(error.name, error.code));`);
    expect(text).toBe("SessionError ERR_STORE");
  });
});

describe("a Request and Response of another implementation", () => {
  const counter = `
      const count = async (_request, session) => new Reply("Visit " + (await session.update("visits", (n = 0) => n + 1)));`;

  test("undici's", async () => {
    const text = await program(`
      import { Request as Ask, Response as Reply } from "undici";
      import { withSession } from "with-session";
      ${counter}
      console.log(await visit(withSession(count), (cookie) => new Ask("https://shop.example/", { headers: cookie ? { cookie } : {} })));`);
    expect(text).toBe("Visit 2");
  });

  test("@whatwg-node/server's, through its adapter", async () => {
    const text = await program(`
      import { createServerAdapter, Response as Reply } from "@whatwg-node/server";
      import { createServer } from "node:http";
      import { withSession } from "with-session";
      ${counter}
      const server = createServer(createServerAdapter(withSession(count)));
      await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
      const url = "http://127.0.0.1:" + server.address().port;
      console.log(await visit((request) => request, (cookie) => fetch(url, { headers: cookie ? { cookie } : {} })));
      server.close();`);
    expect(text).toBe("Visit 2");
  });

  test("verifies a CSRF token in a form of undici's Request", async () => {
    const text = await program(`
      import { Request as Ask, Response as Reply } from "undici";
      import { withSession } from "with-session";
      import { csrfToken, verifyCsrfToken } from "with-session/csrf";
      const handle = withSession(async (request, session) => {
        if (request.method === "GET") return new Reply(await csrfToken(session));
        return new Reply(String(await verifyCsrfToken(session, (await request.formData()).get("csrf"))));
      });
      const page = await handle(new Ask("https://shop.example/"));
      const cookie = page.headers.get("set-cookie").split(";")[0];
      const body = new URLSearchParams({ csrf: await page.text() });
      console.log(await (await handle(new Ask("https://shop.example/", { method: "POST", headers: { cookie }, body }))).text());`);
    expect(text).toBe("true");
  });
});

describe("jest, whose tests run in a realm of their own", () => {
  test("runs a counter on memory and on files, and an unknown id is no error", async () => {
    const jest = await tools("jest", { jest: "30.5.2" });
    await project.write({
      "jest.config.json": JSON.stringify({
        testMatch: ["**/*.jest.mjs"],
        transform: {},
        testEnvironment: "node",
        watchman: false,
      }),
      "counter.jest.mjs": `
        import { mkdtemp } from "node:fs/promises";
        import { tmpdir } from "node:os";
        import { memoryStore, withSession } from "with-session";
        import { fileStore } from "with-session/stores/file";
        for (const make of [memoryStore, async () => fileStore({ directory: await mkdtemp(tmpdir() + "/with-session-jest-") })]) {
          test("counts", async () => {
            const store = await make();
            const handle = withSession(async (_request, session) => new Response("Visit " + (await session.update("visits", (n = 0) => n + 1))), { store });
            expect(await visit(handle)).toBe("Visit 2");
            const unknown = "__Host-session=" + "a".repeat(32);
            expect(await (await handle(new Request("https://shop.example/", { headers: { cookie: unknown } }))).text()).toBe("Visit 1");
          });
        }
        test("takes each kind of value that this realm makes", async () => {
          const value = { at: new Date(0), map: new Map([["a", new Set([1n])]]), bytes: new Uint8Array([1]), url: new URL("https://shop.example/"), list: [undefined] };
          const store = memoryStore();
          const handle = withSession(async (_request, session) => {
            const before = await session.get("value");
            if (before !== undefined) expect(before).toEqual(value);
            session.set("value", value);
            return new Response(before === undefined ? "none" : "the same");
          }, { store });
          expect(await visit(handle)).toBe("the same");
        });
        ${ASK}`,
    });
    const cli = join(jest.folder, "node_modules/jest/bin/jest.js");
    const { ok, output } = await project.run(
      "node",
      "--experimental-vm-modules",
      "--no-warnings",
      cli,
      "--config",
      "jest.config.json",
    );
    expect(ok, output).toBe(true);
    expect(output).toMatch(/Tests: +3 passed, 3 total/);
  });
});

describe("pnpm, with two versions of Hono", () => {
  test("installs the tarball, and the middleware works in an app of either", async () => {
    const pnpm = await tools("pnpm", { pnpm: "12.21.0" });
    const own = await emptyProject("pnpm", {
      "with-session": `file:${await tarball()}`,
      "hono": "4.13.19",
      "older-hono": "npm:hono@4.12.0",
    });
    const { ok, output } = await own.run(
      join(pnpm.folder, "node_modules/pnpm/pnpm"),
      "install",
      "--prefer-offline",
      "--ignore-scripts",
    );
    expect(ok, output).toBe(true);
    await own.write({
      "program.mjs": `
        import * as newer from "hono"; import * as older from "older-hono";
        import { session } from "with-session/hono";
        for (const { Hono } of [newer, older]) {
          const app = new Hono();
          app.use(session());
          app.get("/", async (c) => c.text("Visit " + (await c.var.session.update("visits", (n = 0) => n + 1))));
          console.log(await visit((request) => app.fetch(request)));
        }
        ${ASK}`,
    });
    expect(await mustRun(own.run("node", "program.mjs"))).toBe("Visit 2\nVisit 2\n");
  });
});
