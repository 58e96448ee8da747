/**
 * The check of SolidStart, in addition to the walk. `GET /page` is a page with a form, whose action is a server function.
 *
 * @module
 */
import assert from "node:assert/strict";
import { client } from "./client.ts";
import type { Check } from "./walk.ts";

export const SOLID_START_CHECKS: readonly Check[] = [
  {
    name: "An action renews the id, with and without JavaScript in the browser",
    async run(origin) {
      const visitor = client(origin);
      await visitor.send("/");
      const page = await visitor.send("/page");
      assert.match(page.text, /You are nobody/);
      const path = /<form[^>]*action="([^"]+)"/.exec(page.body)?.[1]?.replaceAll("&amp;", "&") ?? "";
      for (const [user, headers] of [
        ["Ada", { Referer: `${origin}/page` }],
        [
          "Bob",
          {
            "X-Server-Id": new URL(path, origin).searchParams.get("id") ?? "",
            "X-Server-Instance": "server-fn:0",
            "X-Single-Flight": "true",
            "Referer": `${origin}/page`,
          },
        ],
      ] as const) {
        const before = visitor.cookie();
        const answer = await visitor.send(path, { method: "POST", form: { user }, headers });
        assert.ok(
          answer.status < 400,
          `The action is answered, not with ${answer.status}: ${answer.text.slice(0, 200)}`,
        );
        assert.notEqual(visitor.cookie(), before);
        // With JavaScript, the answer also has the data of the page to which the action redirects.
        if ("X-Single-Flight" in headers) assert.match(answer.body, new RegExp(`"${user}"`));
        assert.match((await visitor.send("/page")).text, new RegExp(`You are ${user}`));
      }
    },
  },
];
