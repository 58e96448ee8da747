import { setTimeout as sleep } from "node:timers/promises";
import type { BrowserCookie, Tab } from "./tabs.ts";

/** An error answer of a driver: https://www.w3.org/TR/webdriver2/#errors */
class WebDriverError extends Error {}

/** The names of keys in actions: https://www.w3.org/TR/webdriver2/#keyboard-actions */
export const KEYS: Readonly<Record<"Enter" | "Tab", string>> = { Enter: "\uE007", Tab: "\uE004" };

/** The actions that press and release a key. BiDi accepts them as well. */
export function keyActions(key: keyof typeof KEYS): readonly object[] {
  const value = KEYS[key];
  return [
    {
      type: "key",
      id: "keyboard",
      actions: [
        { type: "keyDown", value },
        { type: "keyUp", value },
      ],
    },
  ];
}

/** A script that returns the value of an expression in the page as JSON. */
export function jsonOf(expression: string): string {
  return `Promise.resolve(${expression}).then((value) => JSON.stringify(value ?? null))`;
}

/** A session with a driver that speaks W3C WebDriver over HTTP. */
export interface WebDriverSession {
  readonly tab: Tab;
  /** Ends the session and the browser. */
  readonly end: () => Promise<void>;
}

/** Opens a session and a browser that accepts any certificate. */
export async function openSession(driver: string): Promise<WebDriverSession> {
  await waitFor(`${driver}/status`);
  const call = async (method: string, path: string, body?: object): Promise<unknown> => {
    // WebKitWebDriver of 2.52 refuses another type.
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(driver + path, { method, ...(body && { headers, body: JSON.stringify(body) }) });
    const { value } = Object(await response.json());
    if (response.ok) return value;
    throw new WebDriverError(`${method} ${path}: ${Object(value).error}: ${Object(value).message}`);
  };
  const opened = await call("POST", "/session", { capabilities: { alwaysMatch: { acceptInsecureCerts: true } } });
  const session = `/session/${Object(opened).sessionId}`;
  return {
    tab: {
      goto: async (url) => void (await call("POST", `${session}/url`, { url })),
      async evaluate(expression) {
        const value = await call("POST", `${session}/execute/sync`, {
          script: `return ${jsonOf(expression)}`,
          args: [],
        });
        return JSON.parse(String(value));
      },
      cookies: async () => (await call("GET", `${session}/cookie`)) as BrowserCookie[],
      press: async (key) => void (await call("POST", `${session}/actions`, { actions: keyActions(key) })),
      resize: async (width, height) => void (await call("POST", `${session}/window/rect`, { width, height })),
      screenshot: async () => Buffer.from(String(await call("GET", `${session}/screenshot`)), "base64"),
    },
    end: async () => void (await call("DELETE", session)),
  };
}

/** Waits until a server accepts connections. */
async function waitFor(address: string): Promise<void> {
  const end = AbortSignal.timeout(120_000);
  for (;;) {
    try {
      return void (await fetch(address, { signal: end }));
    } catch (error) {
      if (end.aborted) throw error;
      await sleep(20);
    }
  }
}
