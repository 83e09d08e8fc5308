// The live page: two sockets, a table and a list. Everything that comes from outside is put on
// the page as text, and a link is only made of an http(s) address.

const MAX_STORIES = 50;
const SPARK_POINTS = 40;
const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 15_000;

const byId = (id) => document.getElementById(id);

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// A socket that comes back by itself, later and later while it fails.
class Channel {
  constructor(path, { opened, message, changed }) {
    Object.assign(this, { path, opened, message, changed, failures: 0, isOpen: false, retryAfter: undefined });
    this.connect();
    addEventListener("online", () => this.retryNow());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.retryNow());
  }

  connect() {
    this.timer = undefined;
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${this.path}`);
    socket.addEventListener("open", () => {
      this.failures = 0;
      this.isOpen = true;
      this.opened?.(socket);
      this.changed();
    });
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "closing") this.retryAfter = message.retryAfterMs;
      this.message(message);
    });
    socket.addEventListener("close", () => {
      this.isOpen = false;
      const ceiling = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** this.failures++);
      const delay = this.retryAfter ?? ceiling * (0.5 + Math.random() / 2);
      this.retryAfter = undefined;
      this.timer = setTimeout(() => this.connect(), delay);
      this.changed();
    });
  }

  retryNow() {
    if (this.timer === undefined) return;
    clearTimeout(this.timer);
    this.connect();
  }
}

// --- Prices ---------------------------------------------------------------------------------

const rows = new Map();
const shortTime = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const percent = new Intl.NumberFormat(undefined, { style: "percent", minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "exceptZero" });

function makeRow(symbol) {
  const line = element("tr");
  const name = element("th", "symbol", symbol);
  name.scope = "row";
  const trend = element("td", "trend");
  const spark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  spark.setAttribute("class", "spark");
  spark.setAttribute("viewBox", "0 0 100 24");
  spark.setAttribute("preserveAspectRatio", "none");
  spark.setAttribute("aria-hidden", "true");
  const path = spark.appendChild(document.createElementNS(spark.namespaceURI, "path"));
  trend.append(spark);
  const row = {
    line, path, prices: [], first: undefined, at: -Infinity,
    last: element("td", "number last"), change: element("td", "number change"), time: element("td", "number time"),
  };
  line.append(name, trend, row.last, row.change, row.time);
  line.dataset.symbol = symbol;
  const after = [...rows.keys()].sort().find((other) => other > symbol);
  byId("prices").insertBefore(line, after === undefined ? null : rows.get(after).line);
  rows.set(symbol, row);
  byId("prices-empty").hidden = true;
  byId("price-count").textContent = rows.size === 1 ? "1 symbol" : `${rows.size} symbols`;
  return row;
}

// Keeps the digits that the exchange sent, and groups the whole part.
function formatPrice(text) {
  const [whole, fraction] = text.split(".");
  if (!/^-?\d+$/.test(whole)) return text;
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

function drawSpark(path, prices) {
  const low = Math.min(...prices);
  const span = Math.max(...prices) - low;
  const step = 100 / Math.max(1, prices.length - 1);
  const points = prices.map((price, index) => {
    const y = span === 0 ? 12 : 22 - ((price - low) / span) * 20;
    return `${(index * step).toFixed(1)} ${y.toFixed(1)}`;
  });
  path.setAttribute("d", prices.length > 1 ? `M${points.join("L")}` : "");
}

function showPrice(message) {
  const row = rows.get(message.symbol) ?? makeRow(message.symbol);
  const at = Date.parse(message.timestamp);
  if (at < row.at) return; // A late trade: the table shows the latest.
  const price = Number(message.price);
  const before = row.prices.at(-1);
  row.at = at;
  row.first ??= price;
  row.prices.push(price);
  if (row.prices.length > SPARK_POINTS) row.prices.shift();
  const change = row.first === 0 ? 0 : price / row.first - 1;
  row.line.dataset.direction = change > 0 ? "up" : change < 0 ? "down" : "flat";
  row.last.textContent = formatPrice(String(message.price));
  row.change.textContent = percent.format(change);
  row.time.textContent = shortTime.format(at);
  drawSpark(row.path, row.prices);
  if (before === undefined || before === price) return;
  row.last.classList.remove("tick-up", "tick-down");
  void row.last.offsetWidth; // Lets the same animation start anew.
  row.last.classList.add(price > before ? "tick-up" : "tick-down");
}

// --- News -----------------------------------------------------------------------------------

const stories = new Map();
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

function ago(time) {
  const seconds = Math.round((time - Date.now()) / 1000);
  for (const [unit, size] of [["day", 86_400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
  }
  return seconds > -10 ? "just now" : relative.format(seconds, "second");
}

function safeLink(text) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url && (url.protocol === "https:" || url.protocol === "http:") ? url.href : undefined;
}

function makeStory(article) {
  const item = element("li", "story");
  const title = element("h3");
  const href = safeLink(article.url);
  if (href) {
    const link = element("a", "", article.title);
    link.href = href;
    link.rel = "noopener noreferrer";
    link.target = "_blank";
    title.append(link);
  } else {
    title.textContent = article.title;
  }
  const meta = element("p", "meta");
  const label = article.sentiment?.label;
  if (label) {
    const badge = element("span", "badge", label);
    badge.dataset.label = label;
    if (Number.isFinite(article.sentiment.score)) badge.title = `score ${article.sentiment.score.toFixed(2)}`;
    meta.append(badge);
  }
  for (const symbol of article.symbols ?? []) meta.append(element("span", "tag", symbol));
  if (article.source) meta.append(element("span", "source", article.source));
  const time = element("time", "", ago(Date.parse(article.publishedAt)));
  time.dateTime = article.publishedAt;
  meta.append(time);
  item.append(title, meta);
  item.dataset.articleId = article.articleId;
  return item;
}

function showArticle(article, isNew) {
  const item = makeStory(article);
  const at = Date.parse(article.publishedAt);
  stories.get(article.articleId)?.item.remove();
  stories.delete(article.articleId);
  const list = byId("feed");
  const next = [...list.children].find((other) => stories.get(other.dataset.articleId).at <= at);
  list.insertBefore(item, next ?? null);
  stories.set(article.articleId, { item, at });
  if (isNew) item.classList.add("arrives");
  while (stories.size > MAX_STORIES) {
    const oldest = list.lastElementChild;
    stories.delete(oldest.dataset.articleId);
    oldest.remove();
  }
  byId("news-empty").hidden = true;
  byId("news-count").textContent = `last ${stories.size}`;
}

async function fillNews() {
  const response = await fetch(`/api/articles?size=${MAX_STORIES}`);
  if (!response.ok) return; // The socket brings the newest ones all the same.
  const { articles } = await response.json();
  for (const article of articles) {
    if (!stories.has(article.articleId)) showArticle(article, false);
  }
}

// --- Together -------------------------------------------------------------------------------

function showStatus() {
  const open = channels.filter((channel) => channel.isOpen).length;
  const wasLive = channels.some((channel) => channel.wasOpen);
  for (const channel of channels) channel.wasOpen ||= channel.isOpen;
  const [state, text] =
    open === channels.length ? ["live", "Live"] : wasLive ? ["lost", "Reconnecting…"] : ["connecting", "Connecting…"];
  byId("status").dataset.state = state;
  byId("status-text").textContent = text;
}

const channels = [];
let isNewsLive = false;

channels.push(
  new Channel("/ws/prices", {
    opened: (socket) => socket.send(JSON.stringify({ type: "subscribe", channel: "*" })),
    message: (message) => message.type === "price" && showPrice(message),
    changed: showStatus,
  }),
  new Channel("/ws/articles", {
    opened: () => {
      isNewsLive = false;
    },
    message: (message) => {
      if (message.type === "article") {
        if (isNewsLive || !stories.has(message.articleId)) showArticle(message, isNewsLive);
      } else if (message.type === "reset") {
        isNewsLive = false;
      } else if (message.type === "subscribed") {
        isNewsLive = true;
        fillNews().catch(() => {}); // Away again: the reconnect comes back here.
      }
    },
    changed: showStatus,
  }),
);

setInterval(() => {
  for (const { item, at } of stories.values()) item.querySelector("time").textContent = ago(at);
}, 15_000);
