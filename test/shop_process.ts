import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { PATIENCE } from "./setup/sessions.ts";

/** The demo as users run it: a separate process, on a free port unless one is given. */
export interface ShopProcess {
  /** Its address, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Asks the process to end, as Ctrl-C would, and returns its exit code. */
  close(): Promise<number | null>;
}

const root: string = fileURLToPath(new URL("..", import.meta.url));

/** Starts the demo on a folder of sessions, and waits until it prints its address. */
export async function openShop(directory: string, port: number = 0): Promise<ShopProcess> {
  return await openShopWith({ SESSION_DIR: directory, PORT: String(port) });
}

/** Starts the demo with its settings in the environment, on this Node or with another command. */
export async function openShopWith(
  settings: Record<string, string>,
  [program, ...args]: readonly [string, ...string[]] = [process.execPath, "examples/shop/server.ts"],
): Promise<ShopProcess> {
  // On a busy disk, storing a file takes longer than the default time limit.
  const env = { ...process.env, PORT: "0", SHOP_STORE_TIMEOUT: String(PATIENCE), ...settings };
  const child = spawn(program, args, { cwd: root, env, stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const close = async (): Promise<number | null> => {
    child.kill("SIGTERM");
    const [code]: (number | null)[] = await exited;
    return code ?? null;
  };
  for await (const line of createInterface(child.stdout)) {
    const found = /http:\/\/localhost:(\d+)/.exec(line);
    if (found) return { url: found[0], port: Number(found[1]), close };
  }
  throw new Error("The shop ended before it opened");
}
