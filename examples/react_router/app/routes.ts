import { index, route, type RouteConfig } from "@react-router/dev/routes";

export default [
  index("routes/home.tsx"),
  route("me", "routes/me.ts"),
  route("message", "routes/message.ts"),
  route("like", "routes/like.ts"),
  route("login", "routes/login.ts"),
  route("logout", "routes/logout.ts"),
] satisfies RouteConfig;
