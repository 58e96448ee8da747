import { access, mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./command.ts";
import { type RedisServer, type RedisServerOptions, startRedis } from "./redis.ts";

/**
 * Valkey 8.1 or newer, which supports `SET … IFEQ`. The distributions on which the tests run have an older version or none. Therefore the
 * packages of Debian 13 are unpacked into a folder, with their libraries, and Valkey runs from there with their loader. Nothing is
 * installed, and root is not needed.
 */
const FOLDER = join(tmpdir(), "with-session-valkey-8.1");
/** The Debian release that has Valkey 8.1, whatever release the machine runs. */
const RELEASE = "trixie";
const KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** Makes Valkey available. Returns undefined, or in one line why it is not available. */
export async function installValkey(): Promise<string | undefined> {
  try {
    if ((await findValkey()) === undefined) await unpackValkey();
    return (await findValkey()) === undefined
      ? "Valkey 8.1 could not be had: what was unpacked does not run"
      : undefined;
  } catch (error) {
    return `Valkey 8.1 could not be had: ${error instanceof Error ? error.message.trim().split("\n").at(-1) : String(error)}`;
  }
}

/** Starts Valkey on a free port of 127.0.0.1. */
export async function startValkey(options: RedisServerOptions = {}): Promise<RedisServer> {
  const missing = await installValkey();
  const program = await findValkey();
  if (program === undefined) throw new Error(missing ?? "Valkey 8.1 could not be had");
  return await startRedis({ ...options, program });
}

/** The command that starts a Valkey that is new enough: the machine's own, or the unpacked one. */
async function findValkey(): Promise<readonly [string, ...string[]] | undefined> {
  for (const command of [["valkey-server"], unpackedValkey()] as const) {
    const [program, ...args] = command;
    const { stdout } = await run(program, [...args, "--version"]).catch(() => ({ stdout: "" }));
    const [, major, minor] = /v=(\d+)\.(\d+)/.exec(stdout) ?? [];
    if (Number(major) > 8 || (major === "8" && Number(minor) >= 1)) return command;
  }
  return undefined;
}

function unpackedValkey(): readonly [string, ...string[]] {
  const libraries = LIBRARIES[process.arch] ?? "";
  const loader = join(FOLDER, "usr/lib", libraries, LOADERS[process.arch] ?? "");
  return [loader, "--library-path", join(FOLDER, "usr/lib", libraries), join(FOLDER, "usr/bin/valkey-server")];
}

const LIBRARIES: Readonly<Record<string, string>> = { x64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" };
const LOADERS: Readonly<Record<string, string>> = { x64: "ld-linux-x86-64.so.2", arm64: "ld-linux-aarch64.so.1" };

async function unpackValkey(): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), "with-session-valkey-"));
  try {
    for (const folder of ["lists/partial", "archives/partial", "root"])
      await mkdir(join(work, folder), { recursive: true });
    // With an empty list of installed packages, apt fetches each library, also those that the machine has in another version.
    await writeFile(join(work, "status"), "");
    const source = `deb [signed-by=${KEYS}] ${await debianMirror()} ${RELEASE} main\n`;
    await writeFile(join(work, "sources.list"), source);
    const settings = {
      "Dir::State": work,
      "Dir::State::status": join(work, "status"),
      "Dir::State::lists": join(work, "lists"),
      "Dir::Cache": work,
      "Dir::Etc::sourcelist": join(work, "sources.list"),
      "Dir::Etc::sourceparts": "/dev/null",
      "Dir::Etc::preferencesparts": "/dev/null",
      "Debug::NoLocking": "1",
      "Acquire::Retries": "3",
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    await succeed("apt-get", [...options, "update"]);
    await succeed("apt-get", [
      ...options,
      "install",
      "-y",
      "--no-install-recommends",
      "--download-only",
      "valkey-server",
    ]);
    for (const file of await readdir(join(work, "archives"))) {
      if (file.endsWith(".deb")) await succeed("dpkg", ["-x", join(work, "archives", file), join(work, "root")]);
    }
    await rm(FOLDER, { recursive: true, force: true });
    await rename(join(work, "root"), FOLDER);
  } catch (error) {
    // Another process may have unpacked Valkey first.
    await access(FOLDER).catch(() => Promise.reject(error));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The mirror from which this machine gets its Debian packages. */
async function debianMirror(): Promise<string> {
  const { stdout } = await run("apt-get", [
    "indextargets",
    "--format",
    "$(ORIGIN)\t$(REPO_URI)",
    "Created-By: Packages",
  ]);
  const line = stdout.split("\n").find((each) => each.startsWith("Debian\t") && !each.includes("security"));
  if (line === undefined) throw new Error("apt has no mirror of Debian");
  return line.slice("Debian\t".length).replace(/\/$/, "");
}

async function succeed(program: string, args: readonly string[]): Promise<void> {
  const { ok, output } = await run(program, [...args]);
  if (!ok) throw new Error(`${program} failed: ${output.trim().split("\n").at(-1)}`);
}
