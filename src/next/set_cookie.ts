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
