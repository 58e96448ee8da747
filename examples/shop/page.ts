/** The shop's facts about a session, as shown by the page and by `GET /api/session`. */
export interface Facts {
  readonly user: string | null;
  readonly isNew: boolean;
  /** When the session began, and when it expires if nobody uses it, in epoch milliseconds; null without a session. */
  readonly createdAt: number | null;
  readonly expiresAt: number | null;
  /** When the user last proved who they are. */
  readonly authenticatedAt: number | null;
  /** Why the presented session has ended; null if it has not, or if none was presented. */
  readonly ended: string | null;
  /** Where the request carried the id; null if it carried none. */
  readonly via: "cookie" | "header" | null;
}

/** One browser in which the user is signed in. Instants in epoch milliseconds. */
export interface Device {
  readonly handle: string;
  readonly name: string;
  readonly createdAt: number;
  readonly lastSeenAt: number;
  /** Whether it is the browser that sent the request. */
  readonly isThis: boolean;
}

/** The content of the page. */
export interface ShopView {
  readonly facts: Facts;
  readonly basket: ReadonlyMap<string, number>;
  readonly devices: readonly Device[];
  /** The message at the top; empty for none. */
  readonly notice: string;
  /** The fault in the name that a user has tried to sign in with. */
  readonly nameError?: string | undefined;
}

/** The whole shop: what is for sale, the basket, the login, the session's facts and the experiment. */
export function shopPage({ facts, basket, devices, notice, nameError }: ShopView): string {
  const count = [...basket.values()].reduce((sum, quantity) => sum + quantity, 0);
  return htmlDocument(
    `${nameError === undefined ? "" : "Error: "}The Orchard`,
    html`
      <header class="top">
        <div class="brand">
          <img src="/icon.svg" alt="" width="44" height="44" />
          <div>
            <h1>The Orchard</h1>
            <p>A small shop that remembers you.</p>
          </div>
        </div>
        <nav aria-label="Shop">
          <a class="pill" href="#basket">Basket <b data-count>${count}</b></a>
          ${
            facts.user === null
              ? html`<a class="pill" href="#you">Sign in</a>`
              : html`<a class="pill" href="#you" data-user>${facts.user}</a>`
          }
        </nav>
      </header>
      <div id="notice" role="status">${notice === "" ? html`` : html`<p>${notice}</p>`}</div>
      <main>
        <section class="fruit" aria-labelledby="fruit-title">
          <h2 id="fruit-title">Ripe today</h2>
          <ul>
            ${fruits.map(fruitCard)}
          </ul>
        </section>
        <div class="side">
          ${basketCard(basket, count)} ${facts.user === null ? loginCard(nameError) : userCard(facts.user, nameError)}
          ${devices.length === 0 ? html`` : devicesCard(devices)} ${factsCard(facts)}
        </div>
        ${experimentCard()}
      </main>
    `,
  );
}

/** The page for a request that the shop rejects. */
export function errorPage(message: string): string {
  return htmlDocument(
    "That did not work · The Orchard",
    html`
      <main class="error">
        <img src="/icon.svg" alt="" width="72" height="72" />
        <h1>That did not work</h1>
        <p>${message}</p>
        <p><a class="button" href="/">Back to the shop</a></p>
      </main>
    `,
  );
}

/** A page that the user sees only shortly after a proof of identity. */
export function accountPage(view: { user: string; authenticatedAt: number; seconds: number }): string {
  const { user, authenticatedAt, seconds } = view;
  return htmlDocument(
    "Your account · The Orchard",
    html`
      <main class="narrow">
        <section class="card" aria-labelledby="account-title">
          <h1 id="account-title">Your account</h1>
          <dl>
            <div>
              <dt>Name</dt>
              <dd>${user}</dd>
            </div>
            <div>
              <dt>Confirmed</dt>
              <dd>${instant(authenticatedAt)}</dd>
            </div>
            <div>
              <dt>Voucher</dt>
              <dd>A tenth off all cherries</dd>
            </div>
          </dl>
          <p class="quiet">
            You have shown who you are, a short time ago. Once that is ${minutes(seconds)} ago, this page asks again.
          </p>
        </section>
        <p><a class="button" href="/">Back to the shop</a></p>
      </main>
    `,
  );
}

/** Asks the user to prove who they are once more. */
export function confirmPage({ seconds, error }: { seconds: number; error?: string }): string {
  return htmlDocument(
    `${error === undefined ? "" : "Error: "}Is it you? · The Orchard`,
    html`
      <main class="narrow">
        <section class="card" aria-labelledby="confirm-title">
          <h1 id="confirm-title">Is it you?</h1>
          <p>
            You signed in more than ${minutes(seconds)} ago. Somebody else could sit at this browser by now, so your
            account asks once more. A real shop would ask for your password or passkey here.
          </p>
          <form method="post" action="/account/confirm">
            ${nameField("The name that you signed in with", error)}
            <button>Confirm</button>
          </form>
        </section>
        <p><a href="/">Back to the shop</a></p>
      </main>
    `,
  );
}

function minutes(seconds: number): string {
  return seconds === 60 ? "one minute" : `${Math.round(seconds / 60)} minutes`;
}

/** The fragment of the button that adds a product, such as `#add-pear`. Empty if the shop has no such button. */
export function buttonOf(product: string): string {
  return fruits.some(({ name }) => name === product) ? `#${idOf(product)}` : "";
}

function idOf(product: string): string {
  return `add-${product.toLowerCase()}`;
}

interface Fruit {
  readonly name: string;
  readonly words: string;
  readonly tint: string;
  readonly drawing: Html;
}

function fruitCard({ name, words, tint, drawing }: Fruit): Html {
  return html`
    <li class="card ${tint}">
      <svg viewBox="0 0 96 96" aria-hidden="true" focusable="false">${drawing}</svg>
      <h3>${name}</h3>
      <p>${words}</p>
      <form method="post" action="/basket" data-stay>
        <input type="hidden" name="product" value="${name}" />
        <button id="${idOf(name)}">Add<span class="unseen"> ${name} to the basket</span></button>
      </form>
    </li>
  `;
}

function basketCard(basket: ReadonlyMap<string, number>, count: number): Html {
  const lines = [...basket].map(([product, quantity]) => html`<li><span>${product}</span> <b>${quantity}</b></li>`);
  return html`
    <section class="card" id="basket" aria-labelledby="basket-title">
      <h2 id="basket-title">Your basket</h2>
      ${
        count === 0
          ? html`<p class="quiet">Empty so far. No need to sign in.</p>`
          : html`
              <ul class="lines">
                ${lines}
              </ul>
              <p class="total"><span>In all</span> <b>${count}</b></p>
              <form method="post" action="/basket/empty" data-stay>
                <button class="second">Empty the basket</button>
              </form>
            `
      }
    </section>
  `;
}

function loginCard(error: string | undefined): Html {
  return html`
    <section class="card" id="you" aria-labelledby="you-title">
      <h2 id="you-title">Sign in</h2>
      <form method="post" action="/login">
        ${nameField("Your name", error)}
        <button>Sign in</button>
      </form>
      <p class="quiet">Any name will do. Your basket comes with you, and your session gets a new id.</p>
    </section>
  `;
}

/** A field for a name. After an error, the field describes it and gets the focus. */
function nameField(label: string, error: string | undefined): Html {
  const state = error === undefined ? html`` : html`aria-invalid="true" aria-describedby="user-error" autofocus`;
  return html`
    <label for="user">${label}</label>
    ${error === undefined ? html`` : html`<p class="wrong" id="user-error">${error}</p>`}
    <input
      id="user"
      name="user"
      required
      maxlength="60"
      pattern=".*\\S.*"
      title="At least one letter"
      autocomplete="username"
      ${state}
    />
  `;
}

function userCard(user: string, error: string | undefined): Html {
  return html`
    <section class="card" id="you" aria-labelledby="you-title">
      <h2 id="you-title">Hello, ${user}</h2>
      <div class="row">
        <form method="post" action="/logout"><button class="second">Sign out</button></form>
        <a class="button second" href="/account">Your account</a>
      </div>
      <p class="quiet">Signing out ends the session, and the basket with it.</p>
      <details ${error === undefined ? html`` : html`open`}>
        <summary>Use another account</summary>
        <form method="post" action="/login">
          ${nameField("The other name", error)}
          <button>Switch to it</button>
        </form>
        <p class="quiet">The other account gets a session that shares nothing with this one.</p>
      </details>
    </section>
  `;
}

function devicesCard(devices: readonly Device[]): Html {
  return html`
    <section class="card" id="devices" aria-labelledby="devices-title">
      <h2 id="devices-title">Your devices</h2>
      <ul>
        ${devices.map(deviceLine)}
      </ul>
      ${
        devices.some(({ isThis }) => !isThis)
          ? html`<form method="post" action="/devices/end-others" data-stay>
              <button>Sign out everywhere else</button>
            </form>`
          : html`<p class="quiet">Sign in with another browser, by the same name, and it appears here.</p>`
      }
    </section>
  `;
}

function deviceLine({ handle, name, createdAt, lastSeenAt, isThis }: Device): Html {
  return html`
    <li>
      <p>
        <b>${name}</b>
        <span class="quiet">${isThis ? "this browser" : html`last seen ${instant(lastSeenAt)}`}</span>
        <span class="quiet">signed in ${instant(createdAt)}</span>
      </p>
      <form method="post" action="/devices/end" ${isThis ? html`` : html`data-stay`}>
        <input type="hidden" name="handle" value="${handle}" />
        <button class="second">
          End<span class="unseen"> the session of ${name}${isThis ? ", this browser" : ""}</span>
        </button>
      </form>
    </li>
  `;
}

/** The button needs a script, so the script shows it. Without a script the page has no button that does not work. */
function experimentCard(): Html {
  return html`
    <section class="card" id="experiment" aria-labelledby="experiment-title">
      <h2 id="experiment-title">Twenty at once</h2>
      <p>
        Twenty requests add cherries to one basket at the same time. If the last write simply won, some would be lost
        without a word. Here every one of them is counted.
      </p>
      <noscript><p class="quiet">This experiment is the one thing here that needs JavaScript.</p></noscript>
      <div id="experiment-tools" hidden>
        <button id="fire" type="button">Send twenty requests</button>
        <div class="dots" aria-hidden="true">${Array.from({ length: 20 }, () => html`<i></i>`)}</div>
        <output id="outcome" for="fire"></output>
      </div>
    </section>
  `;
}

function factsCard({ user, isNew, createdAt, expiresAt, authenticatedAt, ended, via }: Facts): Html {
  const route = { cookie: "in a cookie", header: "in the header X-Session-Id" };
  const rows: [string, string | Html][] = [
    ["State", isNew ? "new, nothing stored" : "known to the shop"],
    ...(ended === null ? [] : [["Last session", ended] satisfies [string, string]]),
    ["Signed in", user ?? "no"],
    ...(authenticatedAt === null ? [] : [["Confirmed", instant(authenticatedAt)] satisfies [string, Html]]),
    ["Id came", via === null ? "not at all" : route[via]],
    ["Created", createdAt === null ? "not yet" : instant(createdAt)],
    ["Expires", expiresAt === null ? "–" : instant(expiresAt)],
  ];
  return html`
    <section class="card" id="facts" aria-labelledby="facts-title">
      <h2 id="facts-title">Your session</h2>
      <dl>
        ${rows.map(
          ([term, fact]) =>
            html`<div>
              <dt>${term}</dt>
              <dd>${fact}</dd>
            </div>`,
        )}
      </dl>
      ${
        isNew
          ? html``
          : html`<form method="post" action="/renew" data-stay><button class="second">Renew the id</button></form>`
      }
      <p class="quiet">The id is renewed at each sign-in too, and once an hour.</p>
      <p class="quiet">
        The same as JSON: <a href="/api/session">/api/session</a>, <a href="/api/basket">/api/basket</a>
      </p>
    </section>
  `;
}

/** In UTC, until the script replaces it by the reader's local time. */
function instant(time: number): Html {
  const iso = new Date(time).toISOString();
  return html`<time datetime="${iso}">${iso.slice(0, 16).replace("T", " ")} UTC</time>`;
}

function htmlDocument(title: string, body: Html): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title}</title>
        <link rel="icon" href="/icon.svg" type="image/svg+xml" />
        <link rel="stylesheet" href="/shop.css" />
        <script src="/shop.js" defer></script>
      </head>
      <body>
        ${body}
      </body>
    </html> `.text;
}

/** Safe HTML, as opposed to text that must be escaped first. */
class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Markup with values. Every value is escaped, unless it is safe HTML. */
function html(parts: TemplateStringsArray, ...values: (Html | readonly Html[] | string | number)[]): Html {
  const text = (value: Html | readonly Html[] | string | number): string => {
    if (value instanceof Html) return value.text;
    return typeof value === "object" ? value.map(text).join("") : escapeHtml(String(value));
  };
  return new Html(String.raw({ raw: parts }, ...values.map(text)));
}

function escapeHtml(value: string): string {
  return value.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

const fruits: readonly Fruit[] = [
  {
    name: "Apple",
    words: "Crisp, red, a little sour",
    tint: "rose",
    drawing: html` <path
        fill="#d94841"
        d="M48 34c-8-9-30-7-30 16 0 19 13 34 22 34 4 0 5-2 8-2s4 2 8 2c9 0 22-15 22-34 0-23-22-25-30-16z"
      />
      <path fill="none" stroke="#7a4b2a" stroke-width="4" stroke-linecap="round" d="M48 33c0-7 2-12 6-16" />
      <path fill="#5d9c4d" d="M52 25c4-9 13-12 22-10-3 9-13 14-22 10z" />
      <ellipse cx="31" cy="49" rx="5" ry="9" fill="#fff" opacity=".28" transform="rotate(18 31 49)" />`,
  },
  {
    name: "Pear",
    words: "Soft, and at its best today",
    tint: "moss",
    drawing: html` <path
        fill="#a9c24a"
        d="M48 22c9 0 12 9 13 18 1 8 15 13 15 27 0 13-12 20-28 20s-28-7-28-20c0-14 14-19 15-27 1-9 4-18 13-18z"
      />
      <path fill="none" stroke="#7a4b2a" stroke-width="4" stroke-linecap="round" d="M48 24c0-6 1-9 4-13" />
      <path fill="#5d9c4d" d="M51 17c5-7 13-8 20-5-4 7-12 10-20 5z" />
      <ellipse cx="34" cy="62" rx="5" ry="10" fill="#fff" opacity=".3" transform="rotate(20 34 62)" />`,
  },
  {
    name: "Lemon",
    words: "For tea, cake and courage",
    tint: "sun",
    drawing: html` <path
        fill="#f2c230"
        d="M20 72c-5-14 0-32 13-43 11-9 26-11 34-7 3 1 5 0 8-2 2-1 5 2 4 4-2 3-3 5-2 8 4 9 2 23-7 34-11 13-29 17-42 13-3-1-5 0-7 2-2 1-5-1-4-4 1-2 4-3 3-5z"
      />
      <path fill="#5d9c4d" d="M66 21c0-8 6-13 14-14 1 8-5 15-14 14z" />
      <ellipse cx="39" cy="42" rx="5" ry="11" fill="#fff" opacity=".35" transform="rotate(48 39 42)" />`,
  },
  {
    name: "Plum",
    words: "Late summer, very sweet",
    tint: "plum",
    drawing: html` <path fill="#7356a8" d="M49 27c18-6 31 8 30 26-1 19-15 33-31 33S18 72 17 53c-1-18 14-32 32-26z" />
      <path
        fill="none"
        stroke="#5b3f86"
        stroke-width="3"
        stroke-linecap="round"
        d="M49 28c-5 15-6 34-1 57"
        opacity=".7"
      />
      <path fill="none" stroke="#7a4b2a" stroke-width="4" stroke-linecap="round" d="M49 28c0-7-2-11-5-15" />
      <path fill="#5d9c4d" d="M49 21c6-8 15-9 22-5-5 8-14 11-22 5z" />
      <ellipse cx="30" cy="48" rx="5" ry="10" fill="#fff" opacity=".25" transform="rotate(18 30 48)" />`,
  },
  {
    name: "Cherries",
    words: "Two by two, as they grew",
    tint: "rose",
    drawing: html` <path
        fill="none"
        stroke="#6b8f3c"
        stroke-width="4"
        stroke-linecap="round"
        d="M56 16C44 28 34 40 31 56M56 16c8 12 12 26 12 42"
      />
      <path fill="#5d9c4d" d="M55 17c9-9 20-8 28-2-7 9-19 11-28 2z" />
      <circle cx="31" cy="69" r="17" fill="#b5283c" />
      <circle cx="68" cy="70" r="16" fill="#c93248" />
      <ellipse cx="25" cy="64" rx="3.5" ry="6" fill="#fff" opacity=".35" transform="rotate(28 25 64)" />
      <ellipse cx="62" cy="65" rx="3.5" ry="6" fill="#fff" opacity=".35" transform="rotate(28 62 65)" />`,
  },
  {
    name: "Orange",
    words: "All of winter in a glass",
    tint: "sun",
    drawing: html` <circle cx="48" cy="54" r="32" fill="#ee8a2c" />
      <path fill="#4c8a3f" d="M48 26c3-10 13-15 24-13-2 11-13 17-24 13z" />
      <path fill="#3f7634" d="M43 27l5-5 5 5-5 4z" />
      <g fill="#c96d17" opacity=".55"
        ><circle cx="62" cy="48" r="1.6" /><circle cx="68" cy="58" r="1.6" /><circle cx="58" cy="66" r="1.6" /><circle
          cx="50"
          cy="76"
          r="1.6" /><circle cx="66" cy="70" r="1.6"
      /></g>
      <ellipse cx="32" cy="46" rx="5" ry="9" fill="#fff" opacity=".3" transform="rotate(28 32 46)" />`,
  },
];
