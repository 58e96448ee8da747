import { describe, expect, test } from "vitest";
import { isControlFlow, refusalStatus } from "../../src/next/control_flow.ts";

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
