import assert from "node:assert/strict";
import { browser, check } from "../check.ts";

const numbers = (text: string): number[] => [...text.matchAll(/data: (\d+)/g)].map(([, number]) => Number(number));

await check("The cookie comes with the headers of the stream", async () => {
  const own = browser();
  const response = await own("/events");
  assert.match(own.cookie(), /^session=/);
  assert.deepEqual(numbers(await response.text()), [1, 2, 3, 4, 5]);
});

await check("What the events say is stored, also when the stream has long begun", async () => {
  const own = browser();
  await (await own("/events")).text();
  assert.equal(await (await own("/count")).text(), "5");
  assert.deepEqual(numbers(await (await own("/events")).text()), [6, 7, 8, 9, 10]);
});

await check("Two streams at once share one counter, and no event comes twice", async () => {
  const own = browser();
  await (await own("/events")).text();
  const texts = await Promise.all([own("/events"), own("/events")].map(async (answer) => await (await answer).text()));
  assert.equal(new Set(texts.flatMap(numbers)).size, 10);
  assert.equal(await (await own("/count")).text(), "15");
});
