/**
 * A real Chromium that binds sessions to keys in software, and an https server for it on this machine.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { vi } from "vitest";

type Handler = (request: Request) => Promise<Response>;

/** One request as the server received it, and its answer. */
export interface Seen {
  readonly method: string;
  readonly host: string;
  readonly path: string;
  readonly headers: Headers;
  readonly status: number;
}

/** An https server that serves a Fetch handler under any host name. */
export interface SecureServer {
  readonly seen: Seen[];
  readonly port: number;
  url(path: string, host?: string): string;
  close(): void;
}

const tls: { readonly key: string; readonly cert: string } = certificate();

/** A self-signed certificate. The browser is told to accept its key. */
function certificate(): { key: string; cert: string } {
  const folder = mkdtempSync(join(tmpdir(), "device-bound-"));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const names = "subjectAltName=DNS:shop.test,DNS:*.shop.test,DNS:mail.test";
  const subject = ["-subj", "/CN=shop.test", "-addext", names, "-days", "2"];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, ...subject], {
    stdio: "ignore",
  });
  const pair = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
  rmSync(folder, { recursive: true });
  return pair;
}

/** The SHA-256 of the certificate's public key, in the form that Chromium expects. */
function keyHash(): string {
  const { publicKey } = new X509Certificate(tls.cert);
  return createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("base64");
}

export async function serve(handler: Handler): Promise<SecureServer> {
  const seen: Seen[] = [];
  const server: Server = createServer(tls, async (incoming, outgoing) => {
    const { method = "GET", url = "/", rawHeaders } = incoming;
    const headers = new Headers();
    for (let at = 0; at < rawHeaders.length; at += 2) headers.append(rawHeaders[at] ?? "", rawHeaders[at + 1] ?? "");
    const host = headers.get("Host") ?? "";
    const request = new Request(`https://${host}${url}`, { method, headers });
    const response = await handler(request).catch(() => new Response(null, { status: 500 }));
    seen.push({ method, host: host.replace(/:.*/, ""), path: url, headers, status: response.status });
    for (const [name, value] of response.headers) outgoing.appendHeader(name, value);
    outgoing.writeHead(response.status).end(await response.text());
  });
  // Notes the handshake of a WebSocket, and accepts none.
  server.on("upgrade", ({ method = "GET", url = "/", headers: { cookie = "" } }, socket) => {
    seen.push({ method, host: "", path: url, headers: new Headers({ Cookie: cookie }), status: 403 });
    socket.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n");
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    seen,
    port,
    url: (path, host = "shop.test") => `https://${host}:${port}${path}`,
    close: () => void server.close().closeAllConnections(),
  };
}

/** Chromium's event about a bound session: https://chromedevtools.github.io/devtools-protocol/tot/Network/. */
interface BoundSessionEvent {
  readonly succeeded: boolean;
  readonly sessionId?: string;
  readonly creationEventDetails?: { readonly fetchResult: string };
  readonly refreshEventDetails?: { readonly refreshResult: string };
  readonly terminationEventDetails?: { readonly deletionReason: string };
}

/** A running browser with one page. */
export class BoundChromium {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly profile: string;
  readonly events: BoundSessionEvent[] = [];

  private constructor(context: BrowserContext, page: Page, profile: string) {
    this.context = context;
    this.page = page;
    this.profile = profile;
  }

  /** Starts Chromium, with a new profile or a given one. */
  static async open({
    profile = mkdtempSync(join(tmpdir(), "device-bound-profile-")),
    isCapable = true,
  } = {}): Promise<BoundChromium> {
    const features = "DeviceBoundSessions:RefreshQuota/false,EnableBoundSessionCredentialsSoftwareKeysForManualTesting";
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: "/usr/bin/chromium",
      // If the option is given twice, Chromium uses the last list of features.
      ignoreDefaultArgs: ["--enable-features"],
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-component-update",
        isCapable ? `--enable-features=${features}` : "--disable-features=DeviceBoundSessions",
        "--host-resolver-rules=MAP *.test 127.0.0.1",
        `--ignore-certificate-errors-spki-list=${keyHash()}`,
      ],
    });
    const page = context.pages()[0] ?? (await context.newPage());
    const browser = new BoundChromium(context, page, profile);
    await browser.#listen();
    return browser;
  }

  async #listen(): Promise<void> {
    const session = await this.context.newCDPSession(this.page);
    session.on("Network.deviceBoundSessionEventOccurred", (event) => void this.events.push(event));
    await session.send("Network.enable");
    await session.send("Network.enableDeviceBoundSessions", { enable: true });
  }

  /** Waits until the browser has registered a session, the first one or a later one. */
  async registered(times = 1): Promise<void> {
    await this.#until(
      (events) => events.filter((each) => each.creationEventDetails?.fetchResult === "Success").length === times,
    );
  }

  /** Waits until the browser has ended a session. */
  async ended(): Promise<void> {
    await this.#until((events) => events.some((each) => each.terminationEventDetails !== undefined));
  }

  async #until(isDone: (events: readonly BoundSessionEvent[]) => boolean): Promise<void> {
    const look = (): void => {
      if (!isDone(this.events)) throw new Error(`The browser has said only ${JSON.stringify(this.events)}`);
    };
    await vi.waitFor(look, { timeout: 120_000 });
  }

  /** Deletes the bound cookie, as the browser does when it expires. */
  async expire(): Promise<void> {
    await this.context.clearCookies({ name: /-bound$/ });
  }

  /** Loads a page, and returns its text. */
  async load(url: string): Promise<string> {
    await this.page.goto(url);
    return await this.page.innerText("body");
  }

  async close(): Promise<void> {
    await this.context.close();
  }
}
