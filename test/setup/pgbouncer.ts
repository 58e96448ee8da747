import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, launch } from "./server_process.ts";

/** A PgBouncer in transaction mode, for one test. */
export interface PgBouncer {
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts PgBouncer on a free port of 127.0.0.1, in front of a PostgreSQL on another one. Its clients share a few connections. */
export async function startPgBouncer(postgresPort: number, connections = 2): Promise<PgBouncer> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-pgbouncer-"));
  const port = await freePort();
  const settings = join(directory, "pgbouncer.ini");
  await writeFile(
    settings,
    `[databases]
postgres = host=127.0.0.1 port=${postgresPort} dbname=postgres user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${connections}
`,
  );
  // Started by root, PgBouncer runs as another user, who must be able to read this folder.
  await chmod(directory, 0o755);
  const asUser = process.getuid?.() === 0 ? ["-u", "nobody"] : [];
  const server = await launch({
    command: "pgbouncer",
    args: [...asUser, settings],
    ready: /process up/,
    cwd: directory,
  });
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    async stop() {
      await server.end("SIGKILL");
      await rm(directory, { recursive: true, force: true });
    },
  };
}
