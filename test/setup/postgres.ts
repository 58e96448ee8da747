import { chown, glob, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "./command.ts";
import { freePort, launch, type ServerProcess } from "./server_process.ts";

/** A PostgreSQL server for one test. It accepts every connection from this machine. */
export interface PostgresServer {
  readonly port: number;
  readonly url: string;
  /** Ends the server and removes its data. */
  stop(): Promise<void>;
  /** Ends the server at once and without a checkpoint, as a crash does. */
  crash(): Promise<void>;
  /** Starts a server that crashed, on the same port and data. */
  restart(): Promise<void>;
}

/** Starts PostgreSQL on a free port of 127.0.0.1, with a temporary folder for its data and the given settings. */
export async function startPostgres(settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> {
  const programs = await folderOfPrograms();
  const directory = await mkdtemp(join(tmpdir(), "with-session-postgres-"));
  const data = join(directory, "data");
  const user = await userOf(directory);
  const initialisation = await run("setpriv", [
    ...(user === undefined ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups"]),
    join(programs, "initdb"),
    `--pgdata=${data}`,
    "--auth=trust",
    "--no-sync",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--username=postgres",
  ]);
  if (!initialisation.ok) throw new Error(`initdb failed:\n${initialisation.output}`);
  const port = await freePort();
  const all = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: directory,
    fsync: "off",
    ...settings,
  };
  const args = [
    "-D",
    data,
    "-p",
    String(port),
    ...Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ];
  const start = (): Promise<ServerProcess> =>
    launch({
      command: join(programs, "postgres"),
      args,
      ready: /ready to accept connections/,
      cwd: directory,
      ...user,
    });
  let server = await start();
  return {
    port,
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    async stop() {
      await server.end("SIGQUIT");
      await rm(directory, { recursive: true, force: true });
    },
    // SIGKILL would leave the server's other processes running. They hold the shared memory for a while.
    crash: () => server.end("SIGQUIT"),
    async restart() {
      server = await start();
    },
  };
}

/** Debian installs the programs of each version in a separate folder that is not on the PATH. */
async function folderOfPrograms(): Promise<string> {
  for await (const program of glob("/usr/lib/postgresql/*/bin/postgres")) return dirname(program);
  throw new Error("There is no PostgreSQL: please install postgresql");
}

/** PostgreSQL refuses to run as root, so it runs as another user, who owns its folder. */
async function userOf(directory: string): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const [uid, gid] = await Promise.all(
    ["-u", "-g"].map(async (option) => Number((await run("id", [option, "postgres"])).stdout)),
  );
  if (!uid || !gid) throw new Error("There is no user postgres: please install postgresql");
  await chown(directory, uid, gid);
  return { uid, gid };
}
