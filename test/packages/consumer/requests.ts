import { withSession } from "with-session";

/** Like `NextRequest` of Next.js: a class that extends `Request` without narrowing anything. */
declare class NextRequestLike extends Request {
  get cookies(): { get(name: string): { value: string } | undefined };
  get nextUrl(): URL;
}

/** Like `Bun.BunRequest`: an interface that extends `Request` with the parameters of the route. */
interface BunRequestLike<Path extends string = string> extends Request {
  readonly params: { readonly [name in Path]: string };
  readonly cookies: Map<string, string>;
  clone(): BunRequestLike<Path>;
}

export const next: (request: NextRequestLike) => Promise<Response> = withSession(
  async (request: NextRequestLike, session) => {
    session.set("path", request.nextUrl.pathname);
    return new Response(request.cookies.get("theme")?.value);
  },
);

export const bun = {
  "/orders/:id": withSession(
    async (request: BunRequestLike<"id">, session, server: { upgrade(request: Request): boolean }) => {
      if (server.upgrade(request)) return undefined;
      await session.update("orders", (n = 0) => Number(n) + 1);
      return new Response(request.params.id);
    },
  ),
};
