/**
 * A small shop that maps a Request to a Response and needs only web standards. `server.ts` serves it on Node.
 *
 * The basket belongs to the session, not to a user: it works before the login, and stays after it. Pages are plain
 * forms that redirect (post, redirect, get); `/api/` is the same shop as JSON. `/account` is for users who have proved
 * who they are a short time ago.
 *
 * @module
 */
import { isFresh, SessionError, SessionManager, withSession } from "with-session";
import type { Session, SessionOptions } from "with-session";
import { crossOriginProtection } from "with-session/cross-origin";
import { type UserSessions, userSessions } from "with-session/user-sessions";
import { icon, script, style } from "./assets.ts";
import { deviceName, withDistinctNames } from "./device_name.ts";
import { endedMessage } from "./ended.ts";
import { parseHandle, parseProduct, parseQuantity, parseUser, readForm, readJson, Refusal } from "./input.ts";
import { accountPage, buttonOf, confirmPage, errorPage, shopPage } from "./page.ts";
import type { Device, Facts } from "./page.ts";

/** The data of the shop in a session. */
export interface ShopData {
  user?: string;
  /** The number of each product. A Map, because a product may have any name, even `__proto__`. */
  basket?: Map<string, number>;
  notice?: string;
}

/** The options of the shop; only `store` is required. */
export interface ShopOptions extends Pick<SessionOptions<ShopData>, "now" | "ids" | "encryption" | "storeTimeout"> {
  /** Where the sessions are kept. */
  readonly store: NonNullable<SessionOptions<ShopData>["store"]>;
}

type ShopSession = Session<ShopData>;
/** The sessions of all users; null for a store that cannot list them, such as `cookieSessions()`. */
type Sessions = UserSessions<{ name: string }> | null;
type Action = (request: Request, session: ShopSession, sessions: Sessions) => Response | Promise<Response>;

const SESSION_HEADER = "X-Session-Id";
const MAX_PRODUCTS = 100;
/** For how many seconds after the user's last proof of identity the account is shown. */
const FRESH = 300;
/** The age of an id, in seconds, after which the next request renews it. */
const ROTATE_EVERY = 3600;

/** The shop as one Fetch handler. */
export function shop(options: ShopOptions): (request: Request) => Promise<Response> {
  const { store } = options;
  const users = typeof store === "object" && "load" in store ? userSessions<{ name: string }>() : null;
  const plugins = users === null ? [] : [users];
  const sessions = new SessionManager<ShopData>({
    ...options,
    plugins,
    header: SESSION_HEADER,
    rotateEvery: ROTATE_EVERY,
  });
  const handle = withSession<ShopData, [Sessions]>(answer, sessions);
  const guarded = crossOriginProtection(handle);
  return async (request) => guarded(request, users);
}

async function answer(request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  try {
    return await actionFor(request)(request, session, sessions);
  } catch (error) {
    const { message, status, headers } = refusalOf(error);
    return new URL(request.url).pathname.startsWith("/api/")
      ? json({ error: message }, { status, headers })
      : page(errorPage(message), { status, headers });
  }
}

/**
 * Turns an error into a refusal if the shop has thrown it, or if another request has ended or renewed the session. Other
 * errors are faults.
 */
function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (!(error instanceof SessionError && error.code === "ERR_SESSION_GONE")) throw error;
  return new Refusal(409, "Your session has changed meanwhile. Please load the page again.");
}

const routes = new Map<string, Map<string, Action>>([
  ["/", new Map([["GET", showShop]])],
  ["/basket", new Map([["POST", addByForm]])],
  ["/basket/empty", new Map([["POST", emptyByForm]])],
  ["/login", new Map([["POST", loginByForm]])],
  ["/logout", new Map([["POST", logoutByForm]])],
  ["/renew", new Map([["POST", renewByForm]])],
  ["/account", new Map([["GET", showAccount]])],
  ["/account/confirm", new Map([["POST", confirmByForm]])],
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
  ["/api/account", new Map([["GET", tellAccount]])],
  ["/api/devices", new Map([["GET", tellDevices]])],
  ["/api/devices/end", new Map([["POST", endDeviceByJson]])],
  ["/api/devices/end-others", new Map([["POST", endOthersByJson]])],
  ["/shop.css", new Map([["GET", () => asset(style, "text/css")]])],
  ["/shop.js", new Map([["GET", () => asset(script, "text/javascript")]])],
  ["/icon.svg", new Map([["GET", () => asset(icon, "image/svg+xml")]])],
  // Browsers ask for this path when they show JSON, which cannot name an icon.
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

// The shop's actions: how a basket, a login and a logout change the session.

async function addToBasket(session: ShopSession, product: string, quantity: number): Promise<Map<string, number>> {
  const basket = await session.update("basket", (before = new Map<string, number>()) => {
    if (before.size >= MAX_PRODUCTS && !before.has(product)) return before;
    return new Map(before).set(product, (before.get(product) ?? 0) + quantity);
  });
  if (!basket.has(product)) throw new Refusal(400, `A basket holds ${MAX_PRODUCTS} different products, no more.`);
  return basket;
}

/**
 * Signs a user in. If another user was signed in here, that user is signed out, and the basket is emptied: it does not
 * go from one user to another.
 */
async function login(request: Request, session: ShopSession, sessions: Sessions, user: string): Promise<void> {
  const before = await session.get("user");
  if (before !== undefined && before !== user) await session.destroy();
  // An attacker may have planted the id before the login, so the signed-in session gets a new one.
  await session.regenerate({ reauthenticated: true });
  session.set("user", user);
  await sessions?.bind(session, user, { name: deviceName(request.headers.get("User-Agent")) });
}

/** The browsers in which the user of this session is signed in. */
async function devicesOf(session: ShopSession, sessions: Sessions): Promise<Device[]> {
  const user = await session.get("user");
  if (user === undefined || sessions === null) return [];
  const own = await sessions.handle(session);
  const devices = (await sessions.list(user)).map(({ handle, createdAt, lastSeenAt, metadata }) => ({
    handle,
    createdAt,
    lastSeenAt,
    name: metadata?.name ?? "Unknown device",
    isThis: handle === own,
  }));
  // This browser comes first.
  return withDistinctNames(devices).toSorted((a, b) => Number(b.isThis) - Number(a.isThis));
}

/** Signs out one device of the same user. A handle that belongs to another user counts as unknown. Returns the device. */
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

/** Looks for the id in the cookie first, then in the header, as the library does. */
async function factsOf(request: Request, session: ShopSession): Promise<Facts> {
  const id = await session.id();
  const { isNew, createdAt, expiresAt, authenticatedAt, ended } = await session.info();
  const inCookie = id !== null && (request.headers.get("Cookie") ?? "").includes(id);
  const inHeader = id !== null && request.headers.get(SESSION_HEADER) === id;
  return {
    user: (await session.get("user")) ?? null,
    isNew,
    createdAt,
    expiresAt,
    authenticatedAt,
    ended,
    via: inCookie ? "cookie" : inHeader ? "header" : null,
  };
}

// The shop as a page.

async function showShop(request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  return await shopWith(request, session, sessions);
}

/** The page of the shop. If a name was rejected, it says why. */
async function shopWith(
  request: Request,
  session: ShopSession,
  sessions: Sessions,
  refused?: Refusal,
): Promise<Response> {
  const facts = await factsOf(request, session);
  const notices = [endedMessage(facts.ended), await session.get("notice")].filter((each) => each !== undefined);
  const basket = await session.get("basket", new Map());
  const devices = await devicesOf(session, sessions);
  return page(shopPage({ facts, basket, devices, notice: notices.join(" "), nameError: refused?.message }), {
    status: refused?.status ?? 200,
  });
}

/** Leaves a message for the next page. If the presented session has ended, the message says so first. */
async function leaveNotice(session: ShopSession, message: string): Promise<void> {
  const { ended } = await session.info();
  session.flash("notice", [endedMessage(ended), message].filter((each) => each !== undefined).join(" "));
}

async function askToSignIn(session: ShopSession, message: string): Promise<Response> {
  await leaveNotice(session, message);
  return redirectTo("/#you");
}

async function addByForm(request: Request, session: ShopSession): Promise<Response> {
  const form = await readForm(request);
  const product = parseProduct(form.get("product"));
  await addToBasket(session, product, parseQuantity(Number(form.get("quantity") ?? 1)));
  await leaveNotice(session, `Added to your basket: ${product}.`);
  return redirectTo(`/${buttonOf(product)}`);
}

async function emptyByForm(_request: Request, session: ShopSession): Promise<Response> {
  if (await session.has("basket")) {
    session.delete("basket");
    await leaveNotice(session, "Your basket is empty again.");
  }
  return redirectTo("/#basket");
}

async function loginByForm(request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  const name = (await readForm(request)).get("user");
  let user: string;
  try {
    user = parseUser(name, "Your name");
  } catch (error) {
    if (error instanceof Refusal) return await shopWith(request, session, sessions, error);
    throw error;
  }
  const before = await session.get("user");
  await login(request, session, sessions, user);
  const isSwitch = before !== undefined && before !== user;
  const message = isSwitch ? `${before} is signed out here, and that basket is gone.` : "Your basket came with you.";
  session.flash("notice", `Welcome, ${user}. ${message}`);
  return redirectTo("/");
}

/** The shop also does this once an hour and at each login. The session stays, and a copied id no longer works. */
async function renewByForm(_request: Request, session: ShopSession): Promise<Response> {
  if ((await session.id()) === null) await leaveNotice(session, "There was no session yet. Now there is one.");
  else {
    await session.regenerate();
    session.flash("notice", "Your session has a new id. Everything in it is as before.");
  }
  return redirectTo("/#facts");
}

/** The farewell message needs a session, so a new one begins. It shares no data with the one that has ended. */
async function logoutByForm(_request: Request, session: ShopSession): Promise<Response> {
  const user = await session.get("user");
  const { ended } = await session.info();
  await session.destroy();
  if (user !== undefined) session.flash("notice", `Goodbye, ${user}. You are signed out, and your basket is gone.`);
  else if (ended !== null) await leaveNotice(session, "You are signed out.");
  return redirectTo("/");
}

async function endDeviceByForm(request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  if (!(await session.has("user"))) return await askToSignIn(session, "Sign in to see your devices.");
  const handle = parseHandle((await readForm(request)).get("handle"));
  const { isThis, name } = await endDevice(session, sessions, handle);
  session.flash("notice", isThis ? "You are signed out." : `Signed out there: ${name}.`);
  return redirectTo("/#devices");
}

async function endOthersByForm(_request: Request, session: ShopSession, sessions: Sessions): Promise<Response> {
  if (!(await session.has("user"))) return await askToSignIn(session, "Sign in to see your devices.");
  const ended = await endOthers(session, sessions);
  session.flash("notice", `You are signed out everywhere else. Other devices: ${ended}.`);
  return redirectTo("/#devices");
}

/** Only the user may see the account, not another person at a browser in which the user is still signed in. */
async function showAccount(_request: Request, session: ShopSession): Promise<Response> {
  const user = await session.get("user");
  if (user === undefined) return await askToSignIn(session, "Sign in to see your account.");
  const { authenticatedAt } = await session.info();
  if (authenticatedAt === null || !(await isFresh(session, FRESH))) return page(confirmPage({ seconds: FRESH }));
  return page(accountPage({ user, authenticatedAt, seconds: FRESH }));
}

/** This shop has no passwords. A real shop asks for the password or a passkey here, and counts the failures. */
async function confirmByForm(request: Request, session: ShopSession): Promise<Response> {
  const user = await session.get("user");
  if (user === undefined) return await askToSignIn(session, "Sign in to see your account.");
  const name = (await readForm(request)).get("user")?.trim();
  if (name !== user) {
    return page(confirmPage({ seconds: FRESH, error: "That is not the name that you signed in with." }), {
      status: 400,
    });
  }
  await session.regenerate({ reauthenticated: true });
  return redirectTo("/account");
}

// The shop as JSON.

async function tellSession(request: Request, session: ShopSession): Promise<Response> {
  return json(await factsOf(request, session));
}

async function startSession(request: Request, session: ShopSession): Promise<Response> {
  await session.create();
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

async function tellAccount(_request: Request, session: ShopSession): Promise<Response> {
  const user = await session.get("user");
  if (user === undefined) throw new Refusal(403, "Sign in first.");
  if (!(await isFresh(session, FRESH))) throw new Refusal(403, "Sign in again: your last login is too long ago.");
  return json({ user, authenticatedAt: (await session.info()).authenticatedAt });
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

/** No cache may store a personal page, not even the browser's history: after a logout, "back" loads the page again. */
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
  // With "no-referrer", browsers would send forms with `Origin: null`. Older browsers send no other header that shows
  // where the form comes from.
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

/** @param place A path, with the id of an element that gets the focus */
function redirectTo(place: string): Response {
  return new Response(null, { status: 303, headers: { "Location": place, "Cache-Control": "no-store" } });
}
