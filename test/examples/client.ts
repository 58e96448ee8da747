import { request } from "node:http";

/** The answer of a server. */
export interface Answer {
  readonly status: number;
  /** The text of the page, without tags. */
  readonly text: string;
  /** The body as it was received. */
  readonly body: string;
  /** The lines of Set-Cookie. */
  readonly cookies: readonly string[];
  header(name: string): string | undefined;
}

/** The parts of a request besides its path. */
export interface SendOptions {
  readonly method?: "GET" | "POST" | "HEAD";
  readonly form?: Readonly<Record<string, string>>;
  /** A body of another kind. Its Content-Type must be in the headers. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A browser that keeps cookies and does not follow redirects. */
export interface Client {
  send(path: string, options?: SendOptions): Promise<Answer>;
  /** The session's cookie as the browser sends it, or null. */
  cookie(): string | null;
  /** Makes the browser send this cookie. */
  use(cookie: string): void;
}

/** A browser without cookies. */
export function client(origin: string): Client {
  const kept = new Map<string, string>();
  return {
    cookie: () => [...kept].map(([name, value]) => `${name}=${value}`).find((pair) => SESSION.test(pair)) ?? null,
    use(pair) {
      const at = pair.indexOf("=");
      kept.set(pair.slice(0, at), pair.slice(at + 1));
    },
    async send(path, { method = "GET", form, body, headers = {} } = {}) {
      const answer = await exchange(new URL(path, origin), {
        method,
        body: body ?? (form === undefined ? undefined : new URLSearchParams(form).toString()),
        headers: {
          Accept: "text/html,*/*;q=0.8",
          // A browser sends this header with each form, and some frameworks reject a form without it.
          ...(method === "POST"
            ? { "Origin": origin, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded" }
            : {}),
          ...(kept.size > 0 ? { Cookie: [...kept].map(([name, value]) => `${name}=${value}`).join("; ") } : {}),
          ...headers,
        },
      });
      for (const line of answer.cookies) {
        const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
        if (/; ?Max-Age=0/i.test(line)) kept.delete(name);
        else kept.set(name, value);
      }
      return answer;
    },
  };
}

/** The cookie of the session, with and without its prefix. */
const SESSION = /^(?:__Host-)?session=/;

/** The Set-Cookie line of the session's cookie. */
export function sessionCookie({ cookies }: Answer): string | undefined {
  return cookies.find((line) => SESSION.test(line));
}

interface Exchange {
  readonly method: string;
  readonly body: string | undefined;
  readonly headers: Record<string, string>;
}

/** Uses `node:http`, because `fetch` would send its own Host header. */
function exchange(url: URL, { method, body, headers }: Exchange): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const length =
      body === undefined
        ? method === "POST"
          ? { "Content-Length": "0" }
          : {}
        : { "Content-Length": String(Buffer.byteLength(body)) };
    const sent = request(
      url,
      { method, headers: { ...length, ...headers }, agent: false, timeout: 120_000 },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => (text += part));
        response.on("error", reject);
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            body: text,
            text: text.replaceAll(/<!--.*?-->/gs, "").replaceAll(/<[^>]*>/g, " "),
            cookies: response.headers["set-cookie"] ?? [],
            header: (name) => [response.headers[name.toLowerCase()]].flat().join(", ") || undefined,
          }),
        );
      },
    );
    sent.on("timeout", () => sent.destroy(new Error(`${method} ${url.pathname} was not answered within two minutes`)));
    sent.on("error", reject);
    sent.end(body);
  });
}
