/**
 * Helpers of the clients of these examples. Each check writes a line to the output.
 *
 * @module
 */

/** Runs one check, and prints its result. */
export async function check(name: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
    console.log(`ok - ${name}`);
  } catch (error) {
    console.log(`not ok - ${name}: ${String(error).replaceAll("\n", " ")}`);
    process.exitCode = 1;
  }
}

/** The address of the server. */
export const ORIGIN: string = process.env["ORIGIN"] ?? "http://127.0.0.1:3000";

/** A `fetch` that keeps cookies, as a browser does. */
export function browser(): typeof fetch & { cookie(): string } {
  const kept = new Map<string, string>();
  const cookie = (): string => [...kept].map(([name, value]) => `${name}=${value}`).join("; ");
  const send = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = new Request(new URL(input instanceof Request ? input.url : input, ORIGIN), {
      redirect: "manual",
      ...init,
    });
    if (kept.size > 0) request.headers.set("Cookie", cookie());
    const response = await fetch(request);
    for (const line of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (line.includes("Max-Age=0")) kept.delete(name);
      else kept.set(name, value);
    }
    return response;
  };
  return Object.assign(send as typeof fetch, { cookie });
}
