import { describe, expect, test } from "vitest";
import { cookieFrom } from "../../src/next/set_cookie.ts";
import { visitor } from "../setup/sessions.ts";

describe("cookieFrom()", () => {
  test("takes each line that the library writes, with all its attributes", async () => {
    const visit = visitor({ cookie: { name: "shop", sameSite: "None", partitioned: true } });
    const begun = await visit((session) => session.set("user", "ada"));
    const [line = ""] = begun.cookies;
    expect(cookieFrom(line)).toEqual({
      name: line.slice(0, line.indexOf("=")),
      value: line.slice(line.indexOf("=") + 1, line.indexOf(";")),
      path: "/",
      maxAge: 86_400,
      secure: true,
      httpOnly: true,
      sameSite: "none",
      partitioned: true,
    });
    const ended = await visit((session) => session.destroy());
    expect(cookieFrom(ended.cookies[0] ?? "")).toMatchObject({
      value: "",
      maxAge: 0,
      path: "/",
      secure: true,
      partitioned: true,
    });
  });

  test.each([
    ["a=1", { name: "a", value: "1" }],
    ["a=b=c; SameSite=Strict", { name: "a", value: "b=c", sameSite: "strict" }],
    [
      "a=; Domain=shop.example; Path=/x; Max-Age=0; SameSite=Lax",
      { name: "a", value: "", domain: "shop.example", path: "/x", maxAge: 0, sameSite: "lax" },
    ],
    ["a=1; Priority=High; Expires=Thu, 01 Jan 1970 00:00:00 GMT", { name: "a", value: "1" }],
  ])("takes %s", (line, cookie) => expect(cookieFrom(line)).toEqual(cookie));
});
