import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** The direction in which a connection is cut: to the server, or back to the client. */
export type Direction = "request" | "answer";

/** A TCP proxy that cuts a connection after an exact number of bytes, or lets connections go silent. */
export interface CuttingProxy {
  readonly port: number;
  /**
   * Cuts once, after this many more bytes have passed in this direction. No further byte passes. `resets`: the receiver
   * gets an error, as from a server that has crashed; otherwise it sees the end of the connection.
   */
  cutAfter(bytes: number, direction: Direction, resets?: boolean): void;
  /** Cancels the plan, and returns whether the cut has happened. Resolves when the receiver has closed the cut connection. */
  finish(): Promise<boolean>;
  /** From now on, the present connections stay open, but no further byte passes. New connections are not affected. */
  silence(): void;
  stop(): Promise<void>;
}

/** Starts the proxy on a free port of 127.0.0.1, in front of a server on another port there. */
export async function startCuttingProxy(serverPort: number): Promise<CuttingProxy> {
  let plan: { readonly direction: Direction; readonly resets: boolean; bytes: number } | undefined;
  let hasCut = false;
  const open = new Set<Socket>();
  const severed: Promise<unknown>[] = [];
  let silent: ReadonlySet<Socket> = new Set();

  const proxy = createServer((client) => {
    const server = connect(serverPort, "127.0.0.1");
    for (const socket of [client, server]) {
      open.add(socket);
      // A cut socket may emit an error, which is ignored: both sides notice that their connection closes.
      socket.on("error", () => {}).on("close", () => open.delete(socket));
    }
    pass(client, server, "request");
    pass(server, client, "answer");
  });

  function pass(from: Socket, to: Socket, direction: Direction): void {
    from.on("data", (chunk) => {
      if (silent.has(from) || to.writableEnded || to.destroyed) return;
      if (plan?.direction !== direction || chunk.length < plan.bytes) {
        if (plan?.direction === direction) plan.bytes -= chunk.length;
        to.write(chunk);
        return;
      }
      const rest = chunk.subarray(0, plan.bytes);
      const { resets } = plan;
      plan = undefined;
      hasCut = true;
      // The receiver gets all bytes before the cut. The sender gets nothing any more.
      severed.push(once(to, "close"));
      if (resets) to.write(rest, () => to.resetAndDestroy());
      else to.end(rest);
      from.destroy();
    });
    from.on("close", () => to.end());
  }

  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const { port } = proxy.address() as AddressInfo;
  return {
    port,
    cutAfter(bytes, direction, resets = false) {
      plan = { bytes, direction, resets };
      hasCut = false;
    },
    async finish() {
      plan = undefined;
      await Promise.all(severed.splice(0));
      return hasCut;
    },
    silence() {
      silent = new Set(open);
    },
    async stop() {
      for (const socket of open) socket.destroy();
      proxy.close();
      await once(proxy, "close");
    },
  };
}
