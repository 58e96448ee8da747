/** One of several processes that count in one session on one folder: `<directory> <cookie> <requests>`, eight at a time. */
import { withSession } from "../mod.ts";
import { fileStore } from "../src/stores/file.ts";

const [directory = "", cookie = "", requests = ""] = process.argv.slice(2);
const handle = withSession(
  async (_request, session) => {
    await session.update(`own-${process.pid}`, (n = 0) => n + 1);
    return new Response(`${await session.update("count", (n = 0) => n + 1)}`);
  },
  { store: fileStore({ directory }) },
);

let left = Number(requests);
async function sendAll(): Promise<void> {
  while (left-- > 0) await handle(new Request("https://shop.example/", { headers: { Cookie: cookie } }));
}
await Promise.all(Array.from({ length: 8 }, sendAll));
