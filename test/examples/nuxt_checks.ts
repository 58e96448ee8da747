/**
 * The check of Nuxt, in addition to the walk. `GET /page` is a page that calls the routes `/` and `/me` while it is rendered.
 *
 * @module
 */
import assert from "node:assert/strict";
import { client, sessionCookie } from "./client.ts";
import type { Check } from "./walk.ts";

export const NUXT_CHECKS: readonly Check[] = [
  {
    name: "A page shares its session with the routes that it calls",
    async run(origin) {
      const visitor = client(origin);
      const first = await visitor.send("/page");
      assert.match(first.text, /Visit 1 of nobody\s+You are nobody/);
      assert.ok(sessionCookie(first) !== undefined, "The session that a route began sets the cookie of the page");
      assert.match(first.header("Cache-Control") ?? "", /no-store/);
      await visitor.send("/login", { method: "POST", form: { user: "Ada" } });
      const second = await visitor.send("/page");
      assert.match(second.text, /Visit 2 of Ada\s+You are Ada/);
      assert.match(second.header("Cache-Control") ?? "", /private/);
    },
  },
];
