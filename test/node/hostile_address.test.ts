import { expect, test } from "vitest";
import { nodeSession } from "../../src/node.ts";
import { type Data, listen, sendLines, sessionOf } from "./setup.ts";

test.each([
  ["a blank in the host", "/account", ["Host: a b"]],
  ["a bracket as the host", "/account", ["Host: ["]],
  ["a port that is too large", "/account", ["Host: x:99999999"]],
  ["a URL as the host", "/account", ["Host: http://user:pw@h/"]],
  ["credentials in the host", "/account", ["Host: user:pw@h"]],
  ["a path in the host", "/account", ["Host: h/public?"]],
  ["a query in the host", "/account", ["Host: h?"]],
  ["a fragment in the host", "/account", ["Host: h#"]],
  ["a backslash in the host", "/account", ["Host: h\\public"]],
  ["an empty host", "/account", ["Host: "]],
  ["credentials in the address", "http://user:pw@h/account", ["Host: h"]],
  ["an address with an invalid port", "http://h:99999999/account", ["Host: h"]],
  ["several hosts", "/account", ["Host: a", "Host: b"]],
])("nodeSession() reads the path of a request with %s", async (_what, address, lines) => {
  const seen: string[] = [];
  const middleware = nodeSession<Data>({
    cookie(request) {
      seen.push(new URL(request.url).pathname);
      return {};
    },
  });
  const origin = await listen((request, response) =>
    middleware(request, response, async () => response.end(String(await sessionOf(request).size()))),
  );
  const answer = await sendLines(origin, [
    `GET ${address} HTTP/1.1`,
    ...lines,
    "Cookie: __Host-session=a; __Host-session=b",
  ]);
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  expect(new Set(seen)).toEqual(new Set(["/account"]));
});
