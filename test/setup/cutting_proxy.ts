import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** The way on which a connection is cut: to the server, or back to the client. */
export type Direction = "request" | "answer";

/** A TCP proxy that cuts a connection after an exact number of bytes. */
export interface CuttingProxy {
  readonly port: number;
  /** Cuts once, when so many bytes have passed on this way from now on: no byte more goes through. */
  cutAfter(bytes: number, direction: Direction): void;
  /** Takes the plan back, and answers whether the cut had happened. Resolves when the server has done what it got. */
  finish(): Promise<boolean>;
  stop(): Promise<void>;
}

/** Starts the proxy on a free port of 127.0.0.1, in front of a server on another port of it. */
export async function startCuttingProxy(serverPort: number): Promise<CuttingProxy> {
  let plan: { readonly direction: Direction; bytes: number } | undefined;
  let hasCut = false;
  const open = new Set<Socket>();
  const severed: Promise<unknown>[] = [];

  const proxy = createServer((client) => {
    const server = connect(serverPort, "127.0.0.1");
    for (const socket of [client, server]) {
      open.add(socket);
      // What is cut may complain; both sides hear of it by the end of their connection.
      socket.on("error", () => {}).on("close", () => open.delete(socket));
    }
    pass(client, server, "request");
    pass(server, client, "answer");
  });

  function pass(from: Socket, to: Socket, direction: Direction): void {
    from.on("data", (chunk) => {
      if (to.writableEnded || to.destroyed) return;
      if (plan?.direction !== direction || chunk.length < plan.bytes) {
        if (plan?.direction === direction) plan.bytes -= chunk.length;
        to.write(chunk);
        return;
      }
      const rest = chunk.subarray(0, plan.bytes);
      plan = undefined;
      hasCut = true;
      // The receiver gets all that came before the cut, the sender hears nothing any more.
      severed.push(once(to, "close"));
      to.end(rest);
      from.destroy();
    });
    from.on("close", () => to.end());
  }

  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const { port } = proxy.address() as AddressInfo;
  return {
    port,
    cutAfter(bytes, direction) {
      plan = { bytes, direction };
      hasCut = false;
    },
    async finish() {
      plan = undefined;
      await Promise.all(severed.splice(0));
      return hasCut;
    },
    async stop() {
      for (const socket of open) socket.destroy();
      proxy.close();
      await once(proxy, "close");
    },
  };
}
