import { connect } from "node:net";

/** The result of a WebSocket's handshake. */
export interface Handshake {
  readonly status: number;
  /** The lines of Set-Cookie. */
  readonly cookies: readonly string[];
  /** The server's first message, of at most 125 letters; empty if it closes the connection without one. */
  readonly message: string;
}

/** In milliseconds. */
const MAX_WAIT = 60_000;

/**
 * Opens a WebSocket as in RFC 6455, 4.1, with a cookie, on any runtime. It does not use the runtime's own client, because those do not
 * show the headers of the response.
 */
export async function shakeHands(port: number, path: string, cookie: string = ""): Promise<Handshake> {
  const socket = connect(port, "127.0.0.1");
  socket.setTimeout(MAX_WAIT, () => socket.destroy(new Error(`${path}: the server has sent no message`)));
  const head = [
    `GET ${path} HTTP/1.1`,
    `Host: localhost:${port}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ...(cookie === "" ? [] : [`Cookie: ${cookie}`]),
  ];
  socket.write(`${head.join("\r\n")}\r\n\r\n`);
  let text = "";
  try {
    for await (const chunk of socket) {
      text += chunk.toString("latin1");
      // After an answer without upgrade, the connection may stay open.
      if (messageIn(text) !== undefined || /^HTTP\/1\.1 (?!101).*\r\n\r\n/s.test(text)) break;
    }
  } finally {
    socket.destroy();
  }
  const [first = "", ...lines] = (text.split("\r\n\r\n")[0] ?? "").split("\r\n");
  const status = Number(first.split(" ")[1]);
  return {
    status,
    cookies: lines.flatMap((line) => /^set-cookie: *(.*)$/i.exec(line)?.[1] ?? []),
    message: (status === 101 ? messageIn(text) : undefined) ?? "",
  };
}

/**
 * The text of the first frame, once it is complete. A short frame of a server has one byte for its kind and one for its length; then
 * the text follows.
 */
function messageIn(text: string): string | undefined {
  const start = text.indexOf("\r\n\r\n") + 4;
  const length = text.charCodeAt(start + 1);
  return start > 3 && text.length >= start + 2 + length ? text.slice(start + 2, start + 2 + length) : undefined;
}

/** The name and value of the cookie in a line. */
export function cookieIn(lines: readonly string[]): string {
  return lines[0]?.split(";")[0] ?? "";
}
