export const SHOP = "https://shop.example/";

/** A client that keeps cookies by name, and ignores their attributes. */
export interface Client {
  /** The cookies by name. */
  readonly cookies: Map<string, string>;
  /** Sends a request to a handler. */
  send(handle: (request: Request) => Response | Promise<Response>, init?: RequestInit, url?: string): Promise<Response>;
}

export function client(): Client {
  const cookies = new Map<string, string>();
  return {
    cookies,
    async send(handle, init = {}, url = SHOP) {
      const request = new Request(url, init);
      if (cookies.size > 0 && !request.headers.has("Cookie"))
        request.headers.set("Cookie", [...cookies].map(([name, value]) => `${name}=${value}`).join("; "));
      const response = await handle(request);
      for (const line of response.headers.getSetCookie()) {
        const [, name = "", value = ""] = /^([^=]*)=([^;]*)/.exec(line) ?? [];
        if (line.includes("Max-Age=0")) cookies.delete(name);
        else cookies.set(name, value);
      }
      return response;
    },
  };
}
