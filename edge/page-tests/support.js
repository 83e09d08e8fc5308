// A Redis, an edge and a browser of one's own. Needs `redis-server` and `chromium`, and the edge
// built by `cargo build --release -p tidemill-edge`.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { createClient } from "redis";

const EDGE = process.env.TIDEMILL_EDGE ?? fileURLToPath(new URL("../../target/release/tidemill-edge", import.meta.url));
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const PATIENCE_MS = 15_000;

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

export async function eventually(what, ask) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`waited too long for ${what}`);
    await sleep(50);
  }
}

// A child process that is stopped and waited for.
function start(program, args, env = {}) {
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, ...env } });
  const ended = new Promise((done, failed) => {
    child.once("exit", done);
    child.once("error", failed);
  });
  return async (signal) => {
    child.kill(signal);
    await ended;
  };
}

export async function startRedis() {
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  const stop = start("redis-server", ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
  const client = createClient({ url });
  client.on("error", () => {}); // It isn't up yet; `connect` goes on trying.
  await client.connect();
  return {
    url,
    client,
    stop: async () => {
      await client.close();
      await stop("SIGKILL");
    },
  };
}

export async function startEdge(redisUrl, port) {
  if (!existsSync(EDGE)) throw new Error(`${EDGE} is missing: cargo build --release -p tidemill-edge`);
  const env = { WS_ADDR: `127.0.0.1:${port}`, REDIS_URL: redisUrl, LOG_LEVEL: "error" };
  const stop = start(EDGE, [], env);
  const url = `http://127.0.0.1:${port}`;
  await eventually("the edge to be ready", () => fetch(`${url}/ready`).then((answer) => answer.ok, () => false));
  return { url, stop: () => stop("SIGTERM") };
}

export function startBrowser() {
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}

// Writes as docs/redis.md says that `notify` does.
export class Notify {
  #offsets = new Map();

  constructor(client) {
    this.client = client;
  }

  async price(symbol, price, timestamp = new Date().toISOString()) {
    const data = JSON.stringify({ symbol, price: `${price}`, quantity: "0.5", timestamp, exchange: "binance" });
    await this.#entry("price-ticks:0", "price", symbol.toLowerCase(), data)
      .hSet("prices:latest", symbol, data)
      .exec();
  }

  async article(articleId, fields) {
    const article = {
      articleId, url: `https://news.example/${articleId}`, title: `Title of ${articleId}`, body: "Text",
      source: "news.example", publishedAt: new Date().toISOString(), symbols: [],
      sentiment: { label: "neutral", score: 0.5 }, entities: [], ...fields,
    };
    const data = JSON.stringify(article);
    await this.#entry("enriched-articles:0", "article", "articles", data)
      .set(`article:${articleId}`, data)
      .zAdd("articles:byTime", { score: Date.parse(article.publishedAt), value: articleId })
      .exec();
  }

  #entry(stream, kind, channel, data) {
    const offset = this.#offsets.get(stream) ?? 0;
    this.#offsets.set(stream, offset + 1);
    return this.client
      .multi()
      .sAdd("streams", `stream:${stream}`)
      .xAdd(`stream:${stream}`, `${offset}-1`, { kind, channel, data });
  }
}
