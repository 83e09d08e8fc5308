// Shows the page with plausible data: `npm run screenshots -- FOLDER` writes two pictures.

import { join } from "node:path";
import { Notify, freePort, startBrowser, startEdge, startRedis } from "./support.js";

const folder = process.argv[2] ?? ".";
const headlines = [
  ["Bitcoin holds above 64,000 as spot funds take in a fifth week of money", "coindesk.com", "bullish", ["BTCUSDT"], 0.91],
  ["Exchange outage leaves traders locked out for two hours", "theblock.co", "bearish", ["BNBUSDT"], 0.78],
  ["Ethereum developers set a date for the next upgrade", "decrypt.co", "neutral", ["ETHUSDT"], 0.55],
  ["Samsung Electronics lifts forecast on memory prices", "yna.co.kr", "bullish", ["005930"], 0.88],
  ["Solana fees fall to a year's low while volume doubles", "cointelegraph.com", "bullish", ["SOLUSDT", "BTCUSDT"], 0.69],
  ["Regulator opens inquiry into stablecoin reserves", "reuters.com", "bearish", ["USDTUSD"], 0.83],
  ["What the quiet options market says about the coming weeks", "coindesk.com", "neutral", ["BTCUSDT", "ETHUSDT"], 0.51],
  ["Miners sell reserves as hash price sinks", "theblock.co", "bearish", ["BTCUSDT"], 0.74],
];
const symbols = { BTCUSDT: 64213.5, ETHUSDT: 3120.42, SOLUSDT: 148.07, BNBUSDT: 588.1, XRPUSDT: 0.5213, ADAUSDT: 0.4471, "005930": 78400, DOGEUSDT: 0.12842 };

const redis = await startRedis();
const edge = await startEdge(redis.url, await freePort());
const browser = await startBrowser();
const notify = new Notify(redis.client);
let minutes = headlines.length * 7;
for (const [index, [title, source, label, tags, score]] of [...headlines].reverse().entries()) {
  minutes -= 7;
  const publishedAt = new Date(Date.now() - (minutes + 1) * 60_000).toISOString();
  await notify.article(`h${index}`, { title, source, publishedAt, symbols: tags, sentiment: { label, score } });
}
const looks = [
  ["edge-desktop-light.png", { viewport: { width: 1280, height: 860 }, colorScheme: "light" }],
  ["edge-phone-dark.png", { viewport: { width: 390, height: 844 }, colorScheme: "dark", deviceScaleFactor: 2 }],
];
const pages = await Promise.all(looks.map(async ([, look]) => {
  const page = await browser.newPage(look);
  await page.goto(edge.url);
  await page.locator('#status[data-state="live"]').waitFor();
  return page;
}));
for (let round = 0; round < 30; round++) {
  for (const [symbol, start] of Object.entries(symbols)) {
    const drift = Math.sin(round / 5 + start) * 0.004 + (start % 3 - 1) * round * 0.0002;
    await notify.price(symbol, (start * (1 + drift)).toPrecision(start > 10_000 ? 7 : 6));
  }
  await new Promise((done) => setTimeout(done, 60));
}
await new Promise((done) => setTimeout(done, 2000));
for (const [index, [name]] of looks.entries()) await pages[index].screenshot({ path: join(folder, name) });
await browser.close();
await edge.stop();
await redis.stop();
