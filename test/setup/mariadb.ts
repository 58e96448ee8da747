import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./command.ts";
import { freePort, launch, type ServerProcess } from "./server_process.ts";

/** A MariaDB server for one test. */
export interface MariaDbServer {
  readonly port: number;
  readonly url: string;
  /** Ends the server and removes its data. */
  stop(): Promise<void>;
  /** Ends the server at once, as a crash does. */
  crash(): Promise<void>;
  /** Starts a server that crashed, on the same port and data. */
  restart(): Promise<void>;
}

/** Starts MariaDB on a free port of 127.0.0.1, with a temporary folder for its data and the given settings. */
export async function startMariaDb(settings: Readonly<Record<string, string>> = {}): Promise<MariaDbServer> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-mariadb-"));
  const data = join(directory, "data");
  // As root, the server runs only with an explicit user.
  const asUser = process.getuid?.() === 0 ? ["--user=root"] : [];
  // A server that starts removes all temporary tables in its tmpdir, also those of other servers.
  const ownTables = [`--tmpdir=${directory}`];
  const initialisation = await run("mariadb-install-db", [
    "--no-defaults",
    `--datadir=${data}`,
    "--auth-root-authentication-method=normal",
    "--skip-test-db",
    ...ownTables,
    ...asUser,
  ]);
  if (!initialisation.ok) throw new Error(`mariadb-install-db failed:\n${initialisation.output}`);
  const port = await freePort();
  const args = [
    "--no-defaults",
    `--datadir=${data}`,
    `--port=${port}`,
    "--bind-address=127.0.0.1",
    `--socket=${join(directory, "socket")}`,
    `--pid-file=${join(directory, "pid")}`,
    "--skip-name-resolve",
    "--skip-log-bin",
    ...ownTables,
    ...asUser,
    ...Object.entries(settings).map(([name, value]) => `--${name}=${value}`),
  ];
  const start = (): Promise<ServerProcess> =>
    launch({ command: "mariadbd", args, ready: /ready for connections/, cwd: directory });
  let server = await start();
  return {
    port,
    url: `mysql://root@127.0.0.1:${port}/mysql`,
    async stop() {
      await server.end("SIGKILL");
      await rm(directory, { recursive: true, force: true });
    },
    crash: () => server.end("SIGKILL"),
    async restart() {
      server = await start();
    },
  };
}
