/**
 * A small shop, from Request to Response, on web standards alone: `server.ts` serves it on Node.
 *
 * The basket belongs to the session, not to a user: it works before anybody signs in, and stays when they
 * do. Pages are plain forms that redirect (post, redirect, get); `/api/` is the same shop as JSON.
 *
 * @module
 */
import { SessionManager, withSession } from "with-session";
import type { Session, SessionOptions } from "with-session";
import { icon, script, style } from "./assets.ts";
import { deviceName } from "./device_name.ts";
import {
  parseHandle,
  parseProduct,
  parseQuantity,
  parseUser,
  readForm,
  readJson,
  Refusal,
  refuseCrossSite,
} from "./input.ts";
import { errorPage, shopPage } from "./page.ts";
import type { Device, Facts } from "./page.ts";

/** What the shop keeps in a session. */
export interface ShopData {
  user?: string;
  /** How many of each product; a Map, because a product may have any name, `__proto__` included. */
  basket?: Map<string, number>;
  notice?: string;
}

/** What the shop needs from outside; `store` alone suffices. */
export interface ShopOptions extends Pick<SessionOptions<ShopData>, "now" | "secrets" | "encrypt"> {
  /** Where the sessions are kept. */
  readonly store: NonNullable<SessionOptions<ShopData>["store"]>;
}

type ShopSession = Session<ShopData>;
/** The sessions of all users, where a store can list them: `cookieStore()` cannot. */
type Sessions = SessionManager<ShopData> | null;
type Action = (request: Request, session: ShopSession, sessions: Sessions) => Response | Promise<Response>;

const SESSION_HEADER = "X-Session-Id";
const MAX_PRODUCTS = 100;

/** The shop as one Fetch handler. */
export function shop(options: ShopOptions): (request: Request) => Promise<Response> {
  const sessions = new SessionManager<ShopData>({ ...options, header: SESSION_HEADER });
  const handle = withSession<ShopData, [Sessions]>(answer, sessions);
  const { store } = options;
  const listed = typeof store === "object" && "load" in store ? sessions : null;
  return (request) => handle(request, listed);
}

async function answer(request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  try {
    const action = actionFor(request);
    refuseCrossSite(request);
    return await action(request, session, sessions);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const { message, status, headers } = error;
    return new URL(request.url).pathname.startsWith("/api/")
      ? json({ error: message }, { status, headers })
      : page(errorPage(message), { status, headers });
  }
}

const routes = new Map<string, Map<string, Action>>([
  ["/", new Map([["GET", showShop]])],
  ["/basket", new Map([["POST", addByForm]])],
  ["/basket/empty", new Map([["POST", emptyByForm]])],
  ["/login", new Map([["POST", loginByForm]])],
  ["/logout", new Map([["POST", logoutByForm]])],
  ["/devices/end", new Map([["POST", endDeviceByForm]])],
  ["/devices/end-others", new Map([["POST", endOthersByForm]])],
  [
    "/api/session",
    new Map([
      ["GET", tellSession],
      ["POST", startSession],
    ]),
  ],
  [
    "/api/basket",
    new Map([
      ["GET", tellBasket],
      ["POST", addByJson],
      ["DELETE", emptyByJson],
    ]),
  ],
  ["/api/login", new Map([["POST", loginByJson]])],
  ["/api/logout", new Map([["POST", logoutByJson]])],
  ["/api/devices", new Map([["GET", tellDevices]])],
  ["/api/devices/end", new Map([["POST", endDeviceByJson]])],
  ["/api/devices/end-others", new Map([["POST", endOthersByJson]])],
  ["/shop.css", new Map([["GET", () => asset(style, "text/css")]])],
  ["/shop.js", new Map([["GET", () => asset(script, "text/javascript")]])],
  ["/icon.svg", new Map([["GET", () => asset(icon, "image/svg+xml")]])],
  // Browsers ask for this one beside JSON, which cannot name an icon.
  ["/favicon.ico", new Map([["GET", () => asset(icon, "image/svg+xml")]])],
]);

function actionFor(request: Request): Action {
  const methods = routes.get(new URL(request.url).pathname);
  if (methods === undefined) throw new Refusal(404, "There is nothing at this address.");
  const action = methods.get(request.method === "HEAD" ? "GET" : request.method);
  if (action === undefined) {
    const allowed = [...methods.keys()].flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : method));
    throw new Refusal(405, "This address does not take that method.", { Allow: allowed.join(", ") });
  }
  return action;
}

// The shop itself: what a basket, a login and a logout do to the session.

async function addToBasket(session: ShopSession, product: string, quantity: number): Promise<Map<string, number>> {
  const basket = await session.update("basket", (before = new Map<string, number>()) => {
    if (before.size >= MAX_PRODUCTS && !before.has(product)) return before;
    return new Map(before).set(product, (before.get(product) ?? 0) + quantity);
  });
  if (!basket.has(product)) throw new Refusal(400, `A basket holds ${MAX_PRODUCTS} different products, no more.`);
  return basket;
}

async function login(request: Request, session: ShopSession, sessions: Sessions, user: string): Promise<void> {
  // An id that somebody planted before the login must not be the id of a signed-in session.
  await session.regenerate();
  session.set("user", user);
  if (sessions !== null) await session.bind(user, { name: deviceName(request.headers.get("User-Agent")) });
}

/** Where the user of this session is signed in. */
async function devicesOf(session: ShopSession, sessions: Sessions): Promise<Device[]> {
  const user = await session.get("user");
  if (user === undefined || sessions === null) return [];
  const own = await session.handle();
  return (await sessions.list(user)).map(({ handle, createdAt, lastSeenAt, details }) => ({
    handle,
    createdAt,
    lastSeenAt,
    name: details.name,
    isThis: handle === own,
  }));
}

/** Signs out one device of the same user: a handle of somebody else's is nobody's here. Answers whose it was. */
async function endDevice(session: ShopSession, sessions: Sessions, handle: string): Promise<Device> {
  const device = (await devicesOf(session, sessions)).find((each) => each.handle === handle);
  if (device === undefined) throw new Refusal(404, "That device is signed out already.");
  if (device.isThis) await session.destroy();
  else await sessions?.revoke(handle);
  return device;
}

async function endOthers(session: ShopSession, sessions: Sessions): Promise<number> {
  const user = await session.get("user");
  if (user === undefined) throw new Refusal(403, "Sign in first.");
  if (sessions === null) throw new Refusal(404, "This shop does not know your other devices.");
  return await sessions.revokeAll(user, { except: session });
}

/** The id that the request presented is searched in it: the cookie is asked first, as the library does. */
async function factsOf(request: Request, session: ShopSession): Promise<Facts> {
  const id = await session.id();
  const { isNew, createdAt, expiresAt } = await session.info();
  const inCookie = id !== null && (request.headers.get("Cookie") ?? "").includes(id);
  const inHeader = id !== null && request.headers.get(SESSION_HEADER) === id;
  return {
    user: (await session.get("user")) ?? null,
    isNew,
    createdAt,
    expiresAt,
    via: inCookie ? "cookie" : inHeader ? "header" : null,
  };
}

// The shop as a page.

async function showShop(request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  return page(
    shopPage({
      facts: await factsOf(request, session),
      basket: await session.get("basket", new Map()),
      devices: await devicesOf(session, sessions),
      notice: await session.get("notice"),
    }),
  );
}

async function addByForm(request: Request, session: ShopSession): Promise<Response> {
  const form = await readForm(request);
  const product = parseProduct(form.get("product"));
  await addToBasket(session, product, parseQuantity(Number(form.get("quantity") ?? 1)));
  session.flash("notice", `Added to your basket: ${product}.`);
  return backToShop();
}

async function emptyByForm(_request: Request, session: ShopSession): Promise<Response> {
  if (await session.has("basket")) {
    session.delete("basket");
    session.flash("notice", "Your basket is empty again.");
  }
  return backToShop();
}

async function loginByForm(request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  const user = parseUser((await readForm(request)).get("user"));
  await login(request, session, sessions, user);
  session.flash("notice", `Welcome, ${user}. Your basket came with you.`);
  return backToShop();
}

/** The farewell needs a session of its own: it begins a new one, which shares nothing with the one that ended. */
async function logoutByForm(_request: Request, session: ShopSession): Promise<Response> {
  const user = await session.get("user");
  await session.destroy();
  if (user !== undefined) session.flash("notice", `Goodbye, ${user}. You are signed out, and your basket is gone.`);
  return backToShop();
}

async function endDeviceByForm(request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  const handle = parseHandle((await readForm(request)).get("handle"));
  const { isThis, name } = await endDevice(session, sessions, handle);
  session.flash("notice", isThis ? "You are signed out." : `Signed out there: ${name}.`);
  return backToShop();
}

async function endOthersByForm(_request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  const ended = await endOthers(session, sessions);
  session.flash("notice", `You are signed out everywhere else. Other devices: ${ended}.`);
  return backToShop();
}

// The shop as JSON.

async function tellSession(request: Request, session: ShopSession): Promise<Response> {
  return json(await factsOf(request, session));
}

async function startSession(request: Request, session: ShopSession): Promise<Response> {
  await session.start();
  return json(await factsOf(request, session));
}

async function tellBasket(_request: Request, session: ShopSession): Promise<Response> {
  return json(basketAsJson(await session.get("basket", new Map())));
}

async function addByJson(request: Request, session: ShopSession): Promise<Response> {
  const { product, quantity } = await readJson(request);
  return json(basketAsJson(await addToBasket(session, parseProduct(product), parseQuantity(quantity ?? 1))));
}

async function emptyByJson(_request: Request, session: ShopSession): Promise<Response> {
  session.delete("basket");
  return json(basketAsJson(new Map()));
}

async function loginByJson(request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  const user = parseUser((await readJson(request))["user"]);
  await login(request, session, sessions, user);
  return json({ user });
}

async function logoutByJson(_request: Request, session: ShopSession): Promise<Response> {
  await session.destroy();
  return json({ user: null });
}

async function tellDevices(_request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  return json(await devicesOf(session, sessions));
}

async function endDeviceByJson(request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  return json(await endDevice(session, sessions, parseHandle((await readJson(request))["handle"])));
}

async function endOthersByJson(_request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  return json({ ended: await endOthers(session, sessions) });
}

function basketAsJson(basket: ReadonlyMap<string, number>): { items: Record<string, number>; count: number } {
  return { items: Object.fromEntries(basket), count: [...basket.values()].reduce((sum, n) => sum + n, 0) };
}

// Responses.

/** A personal page is not stored anywhere, the browser's history included: after a logout, "back" asks again. */
const PERSONAL = { "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff" };

function page(html: string, init: ResponseInit = {}): Response {
  const headers = new Headers(init.headers);
  for (const [name, value] of Object.entries(PERSONAL)) headers.set(name, value);
  headers.set("Content-Type", "text/html; charset=utf-8");
  headers.set(
    "Content-Security-Policy",
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
      "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  );
  // With "no-referrer", browsers would send the forms with `Origin: null`, and the shop would refuse them.
  headers.set("Referrer-Policy", "same-origin");
  return new Response(html, { ...init, headers });
}

function json(body: unknown, init: ResponseInit = {}): Response {
  const headers = new Headers(init.headers);
  for (const [name, value] of Object.entries(PERSONAL)) headers.set(name, value);
  return Response.json(body, { ...init, headers });
}

function asset(text: string, type: string): Response {
  return new Response(text, {
    headers: {
      "Content-Type": `${type}; charset=utf-8`,
      "Cache-Control": "no-cache",
      "X-Content-Type-Options": "nosniff",
    },
  });
}

function backToShop(): Response {
  return new Response(null, { status: 303, headers: { "Location": "/", "Cache-Control": "no-store" } });
}
