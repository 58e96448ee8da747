import { createHandler, StartServer } from "@solidjs/start/server";
import { withSession } from "with-session";
import { sessions } from "./sessions";

const handler = createHandler(() => (
  <StartServer
    document={({ assets, children, scripts }) => (
      <html lang="en">
        <head>{assets}</head>
        <body>
          <div id="app">{children}</div>
          {scripts}
        </body>
      </html>
    )}
  />
));

// `sessions.start(request)` in a route or a server function gives this same session, which is stored here.
export default { fetch: withSession((request) => handler.fetch(request), sessions) };
