import { Outlet } from "react-router";
import { sessionMiddleware } from "./session.ts";

export const middleware = [sessionMiddleware];

export default function Root() {
  return (
    <html lang="en">
      <body>
        <Outlet />
      </body>
    </html>
  );
}
