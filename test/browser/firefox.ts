import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { BrowserCookie, OpenBrowser } from "./tabs.ts";
import { jsonOf, keyActions } from "./webdriver.ts";

/** https://w3c.github.io/webdriver-bidi/#type-network-Cookie */
interface BiDiCookie extends Omit<BrowserCookie, "value"> {
  readonly value: { readonly value: string };
  /** When the cookie expires, in epoch seconds, rounded. */
  readonly expiry?: number;
}

/** Switches prefetching of links on, because some builds switch it off. */
const PREFERENCES = 'user_pref("network.prefetch-next", true);';

/**
 * The system's Firefox, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/). Playwright cannot drive it: its
 * own protocol needs a patched Firefox, and its BiDi support uses commands that this Firefox does not know.
 */
export async function openFirefox(): Promise<OpenBrowser> {
  const profile = await mkdtemp(join(tmpdir(), "shop-firefox-"));
  await writeFile(join(profile, "user.js"), PREFERENCES);
  const args = ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"];
  const firefox = spawn("/usr/bin/firefox-esr", args, { stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(firefox, "exit");
  const ask = await connect(await addressIn(firefox.stderr));
  await ask("session.new", { capabilities: { alwaysMatch: { acceptInsecureCerts: true } } });
  const { context } = await ask("browsingContext.create", { type: "tab" });
  return {
    tab: {
      async goto(url) {
        await ask("browsingContext.navigate", { context, url, wait: "complete" });
      },
      async evaluate(expression) {
        const { result } = await ask("script.evaluate", {
          expression: jsonOf(expression),
          target: { context },
          awaitPromise: true,
        });
        return JSON.parse(String(Object(result).value));
      },
      async cookies() {
        const { cookies } = await ask("storage.getCookies", { partition: { type: "context", context } });
        const now = Math.round(Date.now() / 1000);
        return (cookies as BiDiCookie[]).flatMap(({ value: { value }, expiry = Infinity, ...rest }) =>
          // After Max-Age=0, Firefox sometimes still lists the cookie for a while. It does not send it.
          expiry > now ? { ...rest, value } : [],
        );
      },
      press: async (key) => void (await ask("input.performActions", { context, actions: keyActions(key) })),
      resize: async (width, height) =>
        void (await ask("browsingContext.setViewport", { context, viewport: { width, height } })),
      async screenshot() {
        const { data } = await ask("browsingContext.captureScreenshot", { context });
        return Buffer.from(String(data), "base64");
      },
    },
    async close() {
      firefox.kill();
      await exited;
      await rm(profile, { recursive: true, force: true });
    },
  };
}

async function addressIn(output: NodeJS.ReadableStream): Promise<string> {
  for await (const line of createInterface({ input: output })) {
    const [, address] = /WebDriver BiDi listening on (ws:\S+)/.exec(line) ?? [];
    if (address !== undefined) {
      // If nobody reads the output, a full pipe would stop Firefox.
      output.resume();
      return address;
    }
  }
  throw new Error("Firefox has ended before it listened");
}

type Ask = (method: string, params: object) => Promise<Record<string, unknown>>;

async function connect(address: string): Promise<Ask> {
  const socket = new WebSocket(`${address}/session`);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", reject);
  });
  const waiting = new Map<number, PromiseWithResolvers<Record<string, unknown>>>();
  socket.addEventListener("message", ({ data }) => {
    const { id, type, result, error, message } = JSON.parse(String(data));
    if (type === "success") waiting.get(id)?.resolve(result);
    if (type === "error") waiting.get(id)?.reject(new Error(`${error}: ${message}`));
  });
  let calls = 0;
  return (method, params) => {
    const answer = Promise.withResolvers<Record<string, unknown>>();
    waiting.set(++calls, answer);
    socket.send(JSON.stringify({ id: calls, method, params }));
    return answer.promise;
  };
}
