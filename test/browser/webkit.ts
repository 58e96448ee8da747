import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../setup/server_process.ts";
import type { OpenBrowser } from "./tabs.ts";
import { openSession } from "./webdriver.ts";

/** The system's WebKitGTK, driven by its own driver. It has no headless mode, so it gets a virtual screen. */
export async function openWebKit(): Promise<OpenBrowser> {
  const home = await mkdtemp(join(tmpdir(), "with-session-webkit-"));
  const screen = start("Xvfb", ["-displayfd", "1", "-screen", "0", "1400x1600x24", "-nolisten", "tcp"]);
  const display = await firstLine(screen);
  const port = await freePort();
  const driver = start("WebKitWebDriver", [`--port=${port}`, "--host=127.0.0.1"], {
    DISPLAY: `:${display}`,
    HOME: home,
    // Data that other programs of this user have cached must not affect the test.
    XDG_CACHE_HOME: home,
    XDG_CONFIG_HOME: home,
    XDG_DATA_HOME: home,
  });
  const { tab, end } = await openSession(`http://127.0.0.1:${port}`);
  return {
    tab,
    async close() {
      await end();
      await stop(driver);
      await stop(screen);
      await rm(home, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

function start(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "ignore"] });
  // An interrupted test run leaves no process behind.
  process.once("exit", () => child.kill());
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill();
  await exited;
}

async function firstLine({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error("The output is not read");
  for await (const line of createInterface({ input: stdout })) {
    // If nobody reads the output, a full pipe would stop the program.
    stdout.resume();
    return line;
  }
  throw new Error("The screen has ended before it was there");
}
