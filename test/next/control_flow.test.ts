import { describe, expect, test } from "vitest";
import { cookieFrom, isControlFlow, refusalStatus } from "../../src/next/control_flow.ts";
import { visitor } from "../setup/sessions.ts";

/** An error as Next.js throws it. */
function thrown(digest: unknown): Error {
  return Object.assign(new Error(String(digest)), { digest });
}

describe("isControlFlow()", () => {
  test.each([
    "NEXT_REDIRECT;push;/;307;",
    "NEXT_REDIRECT;replace;https://shop.example/;308;",
    "NEXT_NOT_FOUND",
    "NEXT_HTTP_ERROR_FALLBACK;404",
    "NEXT_HTTP_ERROR_FALLBACK;401",
    "NEXT_HTTP_ERROR_FALLBACK;403",
  ])("is true for %s", (digest) => expect(isControlFlow(thrown(digest))).toBe(true));

  test.each([
    ["an error", new Error("failed")],
    ["an error that Next.js has numbered", thrown("2848303911")],
    ["a bail-out of prerendering", thrown("BAILOUT_TO_CLIENT_SIDE_RENDERING")],
    ["a digest that is no text", thrown(undefined)],
    ["a digest with the word inside", thrown("X;NEXT_REDIRECT")],
    ["undefined", undefined],
    ["null", null],
    ["a text", "NEXT_REDIRECT;push;/;307;"],
  ])("is false for %s", (_name, error) => expect(isControlFlow(error)).toBe(false));
});

describe("refusalStatus()", () => {
  test.each([
    ["NEXT_NOT_FOUND", 404],
    ["NEXT_HTTP_ERROR_FALLBACK;404", 404],
    ["NEXT_HTTP_ERROR_FALLBACK;403", 403],
    ["NEXT_HTTP_ERROR_FALLBACK;401", 401],
    ["NEXT_HTTP_ERROR_FALLBACK", null],
    ["NEXT_HTTP_ERROR_FALLBACK;999", null],
    ["NEXT_HTTP_ERROR_FALLBACK;4040", null],
    ["NEXT_REDIRECT;NEXT_HTTP_ERROR_FALLBACK;404", null],
    ["NEXT_HTTP_ERROR_FALLBACK;", null],
    ["NEXT_REDIRECT;push;/;307;", null],
    ["2848303911", null],
  ])("of %s is %s", (digest, status) => expect(refusalStatus(thrown(digest))).toBe(status));

  test.each([null, undefined, "NEXT_NOT_FOUND", new Error("no digest")])(
    "of %s, which has no digest, is null",
    (error) => expect(refusalStatus(error)).toBeNull(),
  );
});

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
