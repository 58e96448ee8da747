const LOOPBACK = /^(?:localhost|[^/?#:@]+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])(?:[:/?#]|$)/i;

/**
 * Whether a request certainly came over plain http to this machine, where browsers may refuse `Secure` cookies. A proxy
 * may have rewritten the URL, and an adapter such as `@hono/node-ws` may have made it up. So each header that says that
 * the client used TLS or another host is believed.
 */
export function isPlainLoopback({ url, headers }: Request): boolean {
  if (!/^http:\/\//i.test(url) || !LOOPBACK.test(url.slice("http://".length))) return false;
  const isHttp = (scheme: string): boolean => scheme === "http" || scheme === "ws";
  const isLoopback = (host: string): boolean => LOOPBACK.test(host);
  return (
    all(headers.get("Host"), isLoopback) &&
    all(headers.get("X-Forwarded-Proto"), isHttp) &&
    all(headers.get("X-Forwarded-Host"), isLoopback) &&
    // RFC 7239: `for=192.0.2.1;proto=https;host=shop.example, for=…`
    all(headers.get("Forwarded"), (hop) =>
      hop.split(";").every((pair) => {
        const [name = "", value = ""] = pair.split("=").map(bare);
        return name === "proto" ? isHttp(value) : name !== "host" || isLoopback(value);
      }),
    )
  );
}

function all(header: string | null, test: (item: string) => boolean): boolean {
  return header === null || header.split(",").every((item) => test(bare(item)));
}

/** The text without blanks and quotes around it, in lower case. */
function bare(text: string): string {
  return text.trim().replace(/^"|"$/g, "").toLowerCase();
}
