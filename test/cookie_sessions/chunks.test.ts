import { describe, expect, test } from "vitest";
import { splitting } from "../../src/cookie_sessions/chunks.ts";
import { cookieTransport } from "../../src/core/cookie_transport.ts";

const SHOP = "https://shop.example/";

describe("chunks", () => {
  const NAME = "s";
  const context = (cookie?: string) => ({
    maxAge: 60,
    request: new Request(SHOP, { headers: cookie === undefined ? {} : { Cookie: cookie } }),
    runtimeArguments: [],
  });
  /** The names of the cookies that are set, and of those that are expired. */
  const namesIn = (headers: Headers): { set: string[]; expired: string[] } => {
    const lines = headers.getSetCookie();
    const names = (chosen: string[]): string[] => chosen.map((line) => line.split("=")[0] ?? "");
    return {
      set: names(lines.filter((line) => !line.includes("Max-Age=0"))),
      expired: names(lines.filter((line) => line.includes("Max-Age=0"))),
    };
  };
  const chunked = (chunks: number) => cookieTransport({ name: NAME }, splitting(chunks));

  test("hold a long token, and give it back", () => {
    const token = Array.from({ length: 9000 }, (_, at) => String(at % 10)).join("");
    const headers = new Headers();
    chunked(4).write(headers, token, context());
    expect(namesIn(headers)).toEqual({ set: ["s", "s.1", "s.2"], expired: ["s.3"] });
    const cookie = headers
      .getSetCookie()
      .slice(0, 3)
      .map((line) => line.split(";")[0])
      .join("; ");
    expect(chunked(4).read(context(cookie).request)).toBe(token);
  });

  test("that are too few are refused with an error that names both sizes", () => {
    const octets = "it has 8301 octets, browsers keep 4096 in each of 2 chunks";
    expect(() => chunked(2).write(new Headers(), "x".repeat(8299), context())).toThrow(octets);
    expect(() => chunked(1).write(new Headers(), "x".repeat(8299), context())).toThrow("browsers keep 4096; keep less");
    // The name is `s`, and `=` counts as well.
    expect(() => chunked(1).write(new Headers(), "x".repeat(4094), context())).not.toThrow();
    expect(() => chunked(1).write(new Headers(), "x".repeat(4095), context())).toThrow("it has 4097 octets");
  });

  test("are read only behind the first one, and 16 at most", () => {
    expect(chunked(3).read(context("s.1=b").request)).toBe(null);
    expect(chunked(3).read(context("s=; s.1=b").request)).toBe(null);
    const many = Array.from({ length: 20 }, (_, at) => (at === 0 ? "s=a" : `s.${at}=a`)).join("; ");
    expect(chunked(3).read(context(many).request)).toBe("a".repeat(16));
  });

  test("are expired when they are there, and no cookie after them", () => {
    const headers = new Headers();
    chunked(3).clear(headers, context("s=a; s.1=b; s.15=c; s.16=d"));
    expect(namesIn(headers).expired).toEqual(["s", "s.1", "s.15"]);
  });

  test("are not expired unseen by a logout", () => {
    const headers = new Headers();
    chunked(3).clear(headers, context());
    expect(namesIn(headers).expired).toEqual(["s"]);
  });

  test("are not expired where there is one cookie", () => {
    const headers = new Headers();
    cookieTransport({ name: NAME }).clear(headers, context("s=a; s.1=b"));
    expect(namesIn(headers).expired).toEqual(["s"]);
  });
});
