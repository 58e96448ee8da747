/**
 * Checks of a shop page: expressions that a browser evaluates in it.
 *
 * @module
 */

/** Words of buttons and links that are broken across two lines. */
export const BROKEN_WORDS: string = `[...document.querySelectorAll("button, .button, .pill")].flatMap((element) => {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const broken = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement.closest(".unseen")) continue;
    for (const { index, 0: word } of node.data.matchAll(/\\S+/g)) {
      const range = document.createRange();
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      if (new Set([...range.getClientRects()].map(({ top }) => top)).size > 1) broken.push(word);
    }
  }
  return broken;
})`;

/** Texts whose contrast with the background is below 4.5 to 1 (WCAG 2.2, 1.4.3). The check waits for animations to end. */
export const WEAK_CONTRASTS: string = `(async () => {
  await Promise.allSettled(document.getAnimations().map(({ finished }) => finished));
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = numbers(color).map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const groundOf = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const { backgroundColor } = getComputedStyle(each);
      if (numbers(backgroundColor)[3] !== 0) return backgroundColor;
    }
    return "rgb(255, 255, 255)";
  };
  const weak = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (node.data.trim() === "" || !element.checkVisibility() || element.closest("script, noscript, .unseen")) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(groundOf(element))];
    if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) weak.add(node.data.trim());
  }
  return [...weak];
})()`;

/** What a screen reader would miss or confuse, in words; empty if it finds nothing. */
export const UNSOUND: string = `(() => {
  const faults = [];
  const all = (selector) => [...document.querySelectorAll(selector)].filter((each) => each.checkVisibility());
  const nameOf = (element) => (element.ariaLabel ?? element.textContent).replaceAll(/\\s+/g, " ").trim();
  if (document.documentElement.lang === "") faults.push("no language");
  for (const [selector, count] of [["h1", 1], ["main", 1], ["[role=status]", 1]])
    if (document.querySelectorAll(selector).length !== count) faults.push(selector + " is not there once");
  const levels = all("h1, h2, h3, h4").map(({ tagName }) => Number(tagName[1]));
  for (const [at, level] of levels.entries())
    if (at > 0 && level > levels[at - 1] + 1) faults.push("a heading of level " + level + " is under none");
  const names = all("button, summary").map(nameOf);
  for (const [at, name] of names.entries()) {
    if (name === "") faults.push("a button has no name");
    if (names.indexOf(name) !== at) faults.push("two buttons are called " + name);
  }
  for (const field of all("input:not([type=hidden])"))
    if (!field.labels?.length) faults.push("a field has no label: " + field.name);
  for (const part of all("section, nav")) {
    const title = part.ariaLabel ?? document.getElementById(part.getAttribute("aria-labelledby") ?? "")?.textContent;
    if (!title) faults.push("a part of the page has no name");
  }
  for (const image of all("img")) if (!image.hasAttribute("alt")) faults.push("an image has no text");
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  for (const [at, id] of ids.entries()) if (ids.indexOf(id) !== at) faults.push("two elements have the id " + id);
  for (const target of all("button, .button, .pill, summary, input:not([type=hidden])"))
    if (target.getBoundingClientRect().height < 24) faults.push("too small to hit: " + nameOf(target));
  return faults;
})()`;
