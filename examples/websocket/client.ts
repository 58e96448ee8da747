import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as open } from "node:net";
import { WebSocket } from "ws";
import { browser, check, ORIGIN } from "../check.ts";

type Browser = ReturnType<typeof browser>;

async function signedIn(): Promise<Browser> {
  const own = browser();
  await (await own("/login", { method: "POST", body: new URLSearchParams({ user: "Ada" }) })).text();
  return own;
}

async function connect(own: Browser): Promise<WebSocket> {
  const socket = new WebSocket(ORIGIN.replace("http", "ws"), { headers: { Cookie: own.cookie() } });
  await once(socket, "open");
  return socket;
}

async function ask(socket: WebSocket, message: string): Promise<string> {
  const answered = once(socket, "message");
  socket.send(message);
  return String((await answered)[0]);
}

await check("A connection knows the user of the session", async () => {
  const socket = await connect(await signedIn());
  assert.equal(await ask(socket, "who"), "You are Ada");
  socket.close();
});

await check("A connection without a session is refused", async () => {
  const socket = new WebSocket(ORIGIN.replace("http", "ws"));
  const [error] = await once(socket, "error").catch((thrown: unknown) => [thrown]);
  assert.match(String(error), /401/);
});

await check("A page of another origin is refused", async () => {
  const headers = { Cookie: (await signedIn()).cookie(), Origin: "https://evil.example" };
  const [error] = await once(new WebSocket(ORIGIN.replace("http", "ws"), { headers }), "error");
  assert.match(String(error), /403/);
});

await check("A client that breaks the protocol ends only its own connection", async () => {
  const own = await signedIn();
  const { hostname, port } = new URL(ORIGIN);
  // Without a session, the client resets the connection while the server refuses it.
  for (const cookie of ["", own.cookie()]) {
    const client = open(Number(port), hostname);
    const closed = new Promise((resolve) => client.on("error", () => {}).on("close", resolve));
    await once(client, "connect");
    client.write(
      `GET / HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: ${cookie}\r\n\r\n`,
    );
    if (cookie === "") client.resetAndDestroy();
    else {
      await once(client, "data");
      // A frame whose reserved bits are set (RFC 6455, 5.2).
      client.end(Uint8Array.of(0xff, 0x80, 0, 0, 0, 0));
    }
    await closed;
  }
  assert.equal(await (await own("/likes")).text(), "Likes 0\n");
});

await check("Two connections and requests change one session, and nothing is lost", async () => {
  const own = await signedIn();
  const [one, two] = [await connect(own), await connect(own)];
  const counts: string[] = [];
  for (const socket of [one, two]) socket.on("message", (message) => counts.push(String(message)));
  for (let at = 0; at < 10; at++) for (const socket of [one, two]) socket.send("like");
  while (counts.length < 20) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(new Set(counts).size, 20);
  assert.equal(await (await own("/likes")).text(), "Likes 20\n");
  one.close();
  two.close();
});

await check("A logout ends the connection at its next message", async () => {
  const own = await signedIn();
  const socket = await connect(own);
  await (await own("/logout", { method: "POST" })).text();
  socket.send("like");
  const [code] = await once(socket, "close");
  assert.equal(code, 4401);
});
