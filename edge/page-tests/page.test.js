// The page at `/` in a real browser, against the real edge and a real Redis.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { Notify, freePort, startBrowser, startEdge, startRedis } from "./support.js";

let browser, redis, port, edge, notify, page, complaints;

before(async () => {
  browser = await startBrowser();
});

after(() => browser?.close());

beforeEach(async () => {
  [redis, port] = await Promise.all([startRedis(), freePort()]);
  edge = await startEdge(redis.url, port);
  notify = new Notify(redis.client);
  page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  complaints = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(`${error}`));
});

afterEach(async () => {
  await page?.close();
  await edge?.stop();
  await redis?.stop();
});

const live = () => page.locator('#status[data-state="live"]').waitFor();
const story = (id) => page.locator(`[data-article-id="${id}"]`);
const row = (symbol) => page.locator(`tr[data-symbol="${symbol}"]`);

// Waits for a text, and says which one there was instead.
async function showsText(locator, expected) {
  await page.waitForFunction(
    ([element, text]) => element.textContent === text,
    [await locator.elementHandle(), expected],
    { timeout: 10_000 },
  ).catch(async () => assert.equal(await locator.textContent(), expected));
}

test("an empty edge says that there is nothing yet", async () => {
  await page.goto(edge.url);
  await live();
  assert.ok(await page.locator("#prices-empty").isVisible());
  assert.ok(await page.locator("#news-empty").isVisible());
  assert.deepEqual(complaints, []);
});

test("what was there is shown, and what comes is added live", async () => {
  const start = Date.now() - 3600_000;
  for (let number = 1; number <= 60; number++) {
    await notify.article(`a${number}`, { publishedAt: new Date(start + number * 1000).toISOString() });
  }
  await notify.price("ETHUSDT", "3000.10");
  // An edge that ran before would take them a moment later, as live ones.
  await edge.stop();
  edge = await startEdge(redis.url, port);
  await page.goto(edge.url);
  await live();
  await page.waitForFunction(() => document.querySelectorAll(".story").length === 50);
  assert.equal(await page.locator(".story").first().getAttribute("data-article-id"), "a60");

  await notify.article("new", {
    title: "Bitcoin climbs", symbols: ["BTCUSDT", "ETHUSDT"], source: "coindesk.com",
    sentiment: { label: "bullish", score: 0.93 },
  });
  await story("new").waitFor();
  assert.equal(await page.locator(".story").first().getAttribute("data-article-id"), "new");
  assert.equal(await page.locator(".story").count(), 50, "the oldest made room");
  assert.equal(await story("new").locator("h3").textContent(), "Bitcoin climbs");
  assert.equal(await story("new").locator("a").getAttribute("href"), "https://news.example/new");
  assert.equal(await story("new").locator(".badge").textContent(), "bullish");
  assert.deepEqual(await story("new").locator(".tag").allTextContents(), ["BTCUSDT", "ETHUSDT"]);
  assert.equal(await story("new").locator(".source").textContent(), "coindesk.com");
  assert.equal(await story("new").locator("time").textContent(), "just now");
  assert.ok(await story("new").evaluate((item) => item.classList.contains("arrives")));
  assert.equal(await page.locator(".arrives").count(), 1, "what was there doesn't arrive");

  await showsText(row("ETHUSDT").locator(".last"), "3\u202f000.10");
  await notify.price("ETHUSDT", "3030.201");
  await showsText(row("ETHUSDT").locator(".last"), "3\u202f030.201");
  assert.equal(await row("ETHUSDT").getAttribute("data-direction"), "up");
  assert.equal(await row("ETHUSDT").locator(".change").textContent(), "+1.00%");
  await notify.price("ETHUSDT", "2700.09");
  await showsText(row("ETHUSDT").locator(".last"), "2\u202f700.09");
  assert.equal(await row("ETHUSDT").getAttribute("data-direction"), "down");
  await notify.price("ETHUSDT", "1", new Date(start).toISOString());
  await notify.price("BTCUSDT", "60000");
  await row("BTCUSDT").waitFor();
  assert.equal(await row("ETHUSDT").locator(".last").textContent(), "2\u202f700.09", "a late trade isn't the latest");
  assert.deepEqual(await page.locator("#prices th").allTextContents(), ["BTCUSDT", "ETHUSDT"]);
  assert.deepEqual(complaints, []);
});

test("it reconnects by itself and has what came meanwhile", async () => {
  await notify.article("before", {});
  await page.goto(edge.url);
  await live();
  await story("before").waitFor();
  await edge.stop();
  await page.locator('#status[data-state="lost"]').waitFor();
  await showsText(page.locator("#status-text"), "Reconnecting…");
  for (let number = 1; number <= 30; number++) await notify.article(`away${number}`, {});
  await notify.price("BTCUSDT", "60000");
  edge = await startEdge(redis.url, port);
  await live();
  await page.waitForFunction(() => document.querySelectorAll(".story").length === 31);
  await showsText(row("BTCUSDT").locator(".last"), "60\u202f000");
  await notify.article("after", {});
  await story("after").waitFor();
  assert.equal(await page.locator(".story").count(), 32, "none twice");
  const unexpected = complaints.filter((text) => !text.includes("WebSocket connection to"));
  assert.deepEqual(unexpected, [], "only the browser's own words on the refused connection");
});

test("markup and script in an article are only text", async () => {
  const title = '<img src=x onerror="window.harmed = true"><script>window.harmed = true</script>';
  await page.goto(edge.url);
  await live();
  await notify.article("evil", {
    title, source: "<b>bold</b>", symbols: ["<i>x</i>"], url: "javascript:window.harmed=true",
    sentiment: { label: "<u>odd</u>", score: 1 },
  });
  await story("evil").waitFor();
  assert.equal(await story("evil").locator("h3").textContent(), title);
  assert.equal(await story("evil").locator("img, script, b, i, u, a").count(), 0);
  assert.equal(await page.evaluate(() => window.harmed), undefined);
  assert.deepEqual(complaints, []);
});

test("nothing sticks out on a phone, in light or dark", async () => {
  await notify.article("long", { title: "W".repeat(300), source: "s".repeat(120), symbols: Array(20).fill("LONGSYMBOLUSDT") });
  await notify.price("LONGSYMBOLNAMEUSDT", "123456789.12345678");
  await page.setViewportSize({ width: 360, height: 740 });
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.goto(edge.url);
    await story("long").waitFor();
    await row("LONGSYMBOLNAMEUSDT").waitFor();
    const [content, window, widest] = await page.evaluate(() => [
      document.documentElement.scrollWidth,
      innerWidth,
      Math.max(...[...document.querySelectorAll("main *:not(svg, svg *)")].map((other) => other.getBoundingClientRect().right)),
    ]);
    assert.ok(content <= window, `${content} px of content in ${window} px`);
    assert.ok(widest <= window, `something reaches to ${widest} px, cut off`);
  }
  assert.deepEqual(complaints, []);
});

test("the keyboard reaches every article", async () => {
  for (const id of ["one", "two"]) await notify.article(id, {});
  await page.goto(edge.url);
  await story("two").waitFor();
  const reached = [];
  for (let press = 0; press < 6; press++) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.textContent));
  }
  assert.equal(reached[0], "Skip to the news");
  for (const id of ["one", "two"]) assert.ok(reached.includes(`Title of ${id}`), `${id} in ${reached}`);
});
