import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { answer, listen } from "./serve.ts";

/** A self-signed certificate. The browsers are configured to accept it. */
const tls: { readonly key: string; readonly cert: string } = certificate();

function certificate(): { key: string; cert: string } {
  const folder = mkdtempSync(join(tmpdir(), "with-session-tls-"));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=localhost", "-days", "2"];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, ...subject], {
    stdio: "ignore",
  });
  const pair = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
  rmSync(folder, { recursive: true });
  return pair;
}

/** Serves a Fetch handler over https until the test ends, because `Secure` cookies need it, and returns the port. */
export async function serveTls(handle: (request: Request) => Promise<Response>): Promise<number> {
  const server = createServer(tls, (incoming, outgoing) => void answer(handle, incoming, outgoing, "https"));
  const port = await listen(server);
  onTestFinished(() => void server.close().closeAllConnections());
  return port;
}
