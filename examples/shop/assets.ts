/** The stylesheet, the script and the icon. They have their own paths, so that no page needs inline code. */

export const style = `
:root {
  color-scheme: light dark;
  --ground: #f7f4ec; --card: #fffdf8; --ink: #26301f; --soft: #5d6654; --line: #e2dccb;
  --leaf: #2f6b3a; --leaf-deep: #245430; --on-leaf: #ffffff; --note: #e3efd9; --note-ink: #234a2b;
  --rose: #fbe9e4; --moss: #eef3dc; --sun: #fdf2d2; --plum: #ece6f6; --lost: #b3261e;
  --shadow: 0 1px 2px rgb(60 50 20 / .06), 0 6px 20px rgb(60 50 20 / .06);
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #161a14; --card: #1f251c; --ink: #edefe6; --soft: #aab3a0; --line: #333b2e;
    --leaf: #8fce94; --leaf-deep: #a8dcab; --on-leaf: #10210f; --note: #2a3b28; --note-ink: #d3ebcd;
    --rose: #33221f; --moss: #293021; --sun: #332c1b; --plum: #2a2535; --lost: #ff9b90;
    --shadow: none;
  }
}
* { box-sizing: border-box; margin: 0; }
html { scroll-padding-top: 6rem; font: 100%/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; scroll-behavior: smooth; }
body { background: var(--ground); color: var(--ink); max-width: 68rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; overflow-wrap: anywhere; }
h1 { font: 600 1.6rem/1.15 Georgia, "Iowan Old Style", "Liberation Serif", serif; letter-spacing: -.01em; }
h2 { font: 600 1.2rem/1.3 Georgia, "Iowan Old Style", "Liberation Serif", serif; margin-bottom: .6rem; }
h3 { font-size: 1rem; font-weight: 600; }
ul { list-style: none; padding: 0; }
a { color: var(--leaf); text-underline-offset: .2em; }
:focus-visible { outline: 3px solid var(--leaf); outline-offset: 2px; }
[hidden] { display: none !important; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.quiet { color: var(--soft); font-size: .9rem; }

.top { display: flex; flex-wrap: wrap; gap: .9rem 1.5rem; align-items: center; justify-content: space-between; margin-bottom: 1.25rem; }
.brand { display: flex; gap: .8rem; align-items: center; }
.brand p { color: var(--soft); }
.brand img { display: block; }
nav { display: flex; gap: .5rem; flex-wrap: wrap; }
.pill { display: inline-flex; align-items: center; gap: .5rem; min-height: 2.75rem; max-width: 14rem; padding: .3rem 1rem; border: 1px solid var(--line); border-radius: 2rem; background: var(--card); color: var(--ink); text-decoration: none; font-weight: 500; }
.pill:hover { border-color: var(--leaf); }
.pill b { min-width: 1.6rem; padding: 0 .45rem; border-radius: 1rem; background: var(--leaf); color: var(--on-leaf); text-align: center; font-size: .9rem; font-variant-numeric: tabular-nums; }
#notice { position: sticky; top: .5rem; z-index: 1; }
#notice p { margin-bottom: 1.25rem; padding: .8rem 1.1rem; border-radius: .8rem; background: var(--note); color: var(--note-ink); box-shadow: var(--shadow); font-weight: 500; animation: arrive .35s ease-out; }
@keyframes arrive { from { opacity: 0; transform: translateY(-.4rem); } }

main { display: grid; gap: 1.25rem; }
main > *, .side > * { min-width: 0; }
.card { padding: 1.15rem 1.25rem; border: 1px solid var(--line); border-radius: 1rem; background: var(--card); box-shadow: var(--shadow); }
.side { display: grid; gap: 1.25rem; align-content: start; }
.fruit ul { display: grid; gap: .8rem; grid-template-columns: repeat(2, minmax(0, 1fr)); }
.fruit .card { display: flex; flex-direction: column; align-items: center; padding: 1rem .8rem; text-align: center; border-color: transparent; box-shadow: none; }
.fruit svg { width: 5.5rem; height: 5.5rem; margin-bottom: .4rem; }
.fruit p { color: var(--soft); font-size: .9rem; line-height: 1.35; margin: .15rem 0 .8rem; }
.fruit form { margin-top: auto; width: 100%; }
.fruit button { width: 100%; max-width: 9rem; scroll-margin-top: 8rem; }
.rose { background: var(--rose); } .moss { background: var(--moss); } .sun { background: var(--sun); } .plum { background: var(--plum); }

button, .button { display: inline-flex; align-items: center; justify-content: center; min-height: 2.75rem; padding: .5rem 1.2rem; border: 1px solid var(--leaf); border-radius: 2rem; background: var(--leaf); color: var(--on-leaf); font: inherit; font-weight: 600; text-decoration: none; cursor: pointer; overflow-wrap: break-word; }
button:hover, .button:hover { background: var(--leaf-deep); border-color: var(--leaf-deep); }
button:active { transform: translateY(1px); }
[aria-disabled="true"] { opacity: .6; cursor: progress; }
.second { background: transparent; color: var(--leaf); }
.second:hover { color: var(--on-leaf); }
label { display: block; margin-bottom: .3rem; font-weight: 500; }
input { flex: 1 1 9rem; min-width: 0; min-height: 2.75rem; padding: .5rem 1rem; border: 1px solid var(--soft); border-radius: 2rem; background: var(--ground); color: var(--ink); font: inherit; }
input::placeholder { color: var(--soft); opacity: 1; }
.wrong { margin-bottom: .4rem; color: var(--lost); font-weight: 500; }
form > input { width: 100%; margin-bottom: .6rem; }
.row { display: flex; flex-wrap: wrap; gap: .6rem; }
form + .quiet, .row + .quiet { margin-top: .8rem; }

.lines li, .total { display: flex; gap: 1rem; justify-content: space-between; padding: .35rem 0; }
.lines b, .total b { font-variant-numeric: tabular-nums; white-space: nowrap; }
.total { border-top: 1px solid var(--line); margin: .35rem 0 .6rem; padding-top: .6rem; font-weight: 600; }
dl > div { display: flex; flex-wrap: wrap; gap: 0 1rem; padding: .45rem 0; border-bottom: 1px solid var(--line); }
dt { flex: 0 0 6.2rem; color: var(--soft); }
dd { flex: 1 1 9rem; margin: 0; font-weight: 500; }
#facts .quiet, #facts form { margin-top: .8rem; }
details { margin-top: .8rem; }
summary { width: fit-content; padding: .4rem 0; color: var(--leaf); font-weight: 500; text-decoration: underline; text-underline-offset: .2em; cursor: pointer; }
details form { margin-top: .4rem; }

#devices li { display: flex; gap: .8rem; align-items: center; justify-content: space-between; padding: .45rem 0; border-bottom: 1px solid var(--line); }
#devices li p { min-width: 0; }
#devices li form { flex: none; }
#devices li .quiet { display: block; }
#devices > form, #devices > .quiet { margin-top: .9rem; }

#experiment button { margin-top: .9rem; }
.dots { display: grid; grid-template-columns: repeat(10, minmax(0, 1.5rem)); gap: .45rem; margin: 1.1rem 0 .9rem; }
.dots i { aspect-ratio: 1; border-radius: 50%; border: 2px solid var(--line); transition: background-color .2s, border-color .2s, transform .2s; }
.dots .counted { background: var(--leaf); border-color: var(--leaf); transform: scale(1.06); }
.dots .lost { background: var(--lost); border-color: var(--lost); }
output { display: block; min-height: 1.5em; font-weight: 600; }
.narrow { max-width: 30rem; margin: 8vh auto 0; }
.narrow h1, .narrow dl { margin-bottom: .8rem; }
.narrow form { margin-top: 1rem; }
.error { justify-items: center; gap: .9rem; padding: 16vh 0; text-align: center; }

@media (min-width: 36rem) { .fruit ul { grid-template-columns: repeat(3, minmax(0, 1fr)); } }
@media (min-width: 56rem) {
  body { padding-top: 2rem; }
  main:not(.error, .narrow) { grid-template: auto 1fr / minmax(0, 1fr) 22.5rem; align-items: start; }
  .side { grid-column: 2; grid-row: 1 / 3; }
}
@media (prefers-reduced-motion: reduce) {
  *, *::before { animation: none !important; transition: none !important; scroll-behavior: auto !important; }
}
`;

export const script = `
// A page that the browser kept alive for "back" may show a user who has signed out since: ask again.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

const find = (selector) => document.querySelector(selector);
const inCase = async (response) => { if (!response.ok) throw new Error(response.statusText); return response; };
const countOf = async () => (await (await inCase(await fetch("/api/basket"))).json()).count;
const post = (path, body = {}) => fetch(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
}).then(inCase);

function tellLocalTimes() {
  for (const time of document.querySelectorAll("time")) {
    const date = new Date(time.dateTime);
    const year = date.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
    time.textContent = date.toLocaleString(undefined, { ...year, month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
  }
}

/** Shows another state of the shop: all that can differ, while the focus and the place on the page stay. */
function show(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  if (!page.querySelector("#basket")) throw new Error("This is no page of the shop");
  const section = document.activeElement?.closest("section")?.id;
  for (const part of ["nav", ".side"]) find(part).replaceWith(page.querySelector(part));
  find("#notice").replaceChildren(...page.querySelector("#notice").childNodes);
  tellLocalTimes();
  const heading = section && find("#" + section + " h2");
  // The button that had the focus is gone.
  if (document.activeElement !== document.body || !heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

async function refresh() {
  show(await (await inCase(await fetch("/"))).text());
}

async function send(action, body) {
  try {
    const response = await fetch(action, { method: "POST", body });
    const text = await response.text();
    if (response.ok) return show(text);
    // A page that says what is wrong.
    say(new DOMParser().parseFromString(text, "text/html").querySelector("main p").textContent);
  } catch {
    say("The shop did not answer. Please try again.");
  }
}

function say(text) {
  const message = document.createElement("p");
  message.textContent = text;
  find("#notice").replaceChildren(message);
}

/** One form after the other: two at once of a newcomer, who has no cookie yet, would begin two sessions. */
let sending = Promise.resolve();

addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.hasAttribute("data-stay")) return;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(form));
  sending = sending.then(() => send(form.action, body));
});

async function sendTwenty() {
  const dots = [...document.querySelectorAll(".dots i")];
  // A button that is disabled loses the focus.
  if (find("#fire").ariaDisabled === "true") return;
  find("#fire").ariaDisabled = "true";
  for (const dot of dots) dot.className = "";
  find("#outcome").textContent = "Twenty requests are under way …";
  try {
    // Twenty visitors without a cookie would be twenty sessions: make sure that there is one to share.
    await post("/api/session");
    const before = await countOf();
    const begin = performance.now();
    await Promise.allSettled(dots.map((dot) => post("/api/basket", { product: "Cherries" }).then(
      () => { dot.className = "counted"; },
      () => { dot.className = "lost"; },
    )));
    const time = Math.round(performance.now() - begin);
    const counted = await countOf() - before;
    find("#outcome").textContent = counted + " of 20 are in the basket" +
      (counted === 20 ? ": none was lost, in " + time + " ms." : ".");
    await refresh();
  } catch {
    find("#outcome").textContent = "The shop did not answer. Please try again.";
  } finally {
    find("#fire").ariaDisabled = "false";
  }
}

tellLocalTimes();
if (find("#fire")) {
  find("#experiment-tools").hidden = false;
  find("#fire").addEventListener("click", sendTwenty);
}
`;

export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96">
  <rect width="96" height="96" rx="24" fill="#2f6b3a"/>
  <path fill="#fff6e6" d="M48 38c-7-8-26-6-26 14 0 17 11 29 19 29 3 0 5-2 7-2s4 2 7 2c8 0 19-12 19-29 0-20-19-22-26-14z"/>
  <path fill="none" stroke="#fff6e6" stroke-width="5" stroke-linecap="round" d="M48 36c0-6 2-10 5-13"/>
  <path fill="#a9d28f" d="M53 28c3-8 11-11 19-9-3 8-11 12-19 9z"/>
</svg>
`;
