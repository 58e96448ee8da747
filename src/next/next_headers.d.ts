/** The parts of `next/headers` and `next/server` that are used, so that Next.js itself need not be installed to check the types. */
declare module "next/headers.js" {
  /** A cookie and its attributes. */
  interface CookieToSet {
    name: string;
    value: string;
    path?: string;
    domain?: string;
    maxAge?: number;
    secure?: boolean;
    httpOnly?: boolean;
    sameSite?: "lax" | "strict" | "none";
    partitioned?: boolean;
  }
  export function cookies(): Promise<{ set(cookie: CookieToSet): unknown }>;
  export function headers(): Promise<Headers>;
}

declare module "next/server.js" {
  export const NextResponse: { next(init: { request: { headers: Headers } }): Response };
}
