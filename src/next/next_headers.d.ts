/** The part of `next/headers` that is used, so that Next.js itself need not be installed to check the types. */
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
