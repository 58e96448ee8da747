/**
 * Whether Next.js throws an error to leave a function on purpose: `redirect()`, `notFound()`, `forbidden()` and
 * `unauthorized()`.
 */
export function isControlFlow(error: unknown): error is { readonly digest: unknown } {
  if (typeof error !== "object" || error === null || !("digest" in error)) return false;
  return /^NEXT_(?:REDIRECT|NOT_FOUND|HTTP_ERROR_FALLBACK)/.test(String(error.digest));
}

/**
 * The status with which Next.js answers a route that `notFound()`, `forbidden()` or `unauthorized()` has left: 404, 403 or 401.
 *
 * @returns Null if the error is another one
 */
export function refusalStatus(error: unknown): number | null {
  if (!isControlFlow(error)) return null;
  const digest = String(error.digest);
  // Next.js 15.0 has this digest without a status.
  if (digest === "NEXT_NOT_FOUND") return 404;
  const status = /^NEXT_HTTP_ERROR_FALLBACK;(4\d\d)$/.exec(digest)?.[1];
  return status === undefined ? null : Number(status);
}

/** A cookie as Next.js takes it. */
interface NextCookie {
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

/** A line of Set-Cookie that this library wrote, as a cookie that Next.js takes. */
export function cookieFrom(line: string): NextCookie {
  const [pair = "", ...attributes] = line.split(";").map((part) => part.trim());
  const at = pair.indexOf("=");
  const cookie: NextCookie = { name: pair.slice(0, at), value: pair.slice(at + 1) };
  for (const attribute of attributes) {
    const [name = "", value = ""] = attribute.split("=");
    switch (name.toLowerCase()) {
      case "path":
        cookie.path = value;
        break;
      case "domain":
        cookie.domain = value;
        break;
      case "max-age":
        cookie.maxAge = Number(value);
        break;
      case "secure":
        cookie.secure = true;
        break;
      case "httponly":
        cookie.httpOnly = true;
        break;
      case "samesite":
        cookie.sameSite = value.toLowerCase() === "strict" ? "strict" : value.toLowerCase() === "none" ? "none" : "lax";
        break;
      case "partitioned":
        cookie.partitioned = true;
        break;
      default:
    }
  }
  return cookie;
}
