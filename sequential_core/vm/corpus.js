// Programs whose states the dictionary of a guest is trained on, see `dictionary`: small ones of all kinds, as people and
// models write them. Lines of `// ---` stand between them. Those that say `response` behind it get their answers as a Response.

// ---
const repo = await fetch("https://api.github.com/repos/python/cpython");
repo.name;
// ---
const weather = await fetch("https://api.open-meteo.com/v1/forecast?latitude=52&longitude=13");
const news = await fetch("https://newsapi.org/v2/top-headlines");
({ weather, news });
// ---
const customer = await fetch('https://api.stripe.com/v1/customers/cus_123');
const charges = await fetch('https://api.stripe.com/v1/charges?customer=cus_123');
const refunds = await fetch('https://api.stripe.com/v1/refunds');
[customer, charges, refunds];
// ---
const a = await fetch("http://localhost:3000/a");
const b = await fetch("http://localhost:3000/b");
const c = await fetch("http://localhost:3000/c");
a + b + c
// ---
let total = 0;
for (let page = 1; page <= 4; page++) {
  const items = await fetch(`https://shop.test/api/items?page=${page}`);
  total += items.length;
}
total
// ---
let count = 0;
for (let i = 0; i < 6; i++) count += (await fetch(`https://example.org/numbers/${i}`)) ? 1 : 0;
count
// ---
const ids = [3, 5, 7, 11];
const names = [];
for (const id of ids) {
  const person = await fetch("https://people.example.org/" + id);
  names.push(person.name);
}
names.join(", ")
// ---
const [left, right] = await Promise.all([fetch("https://example.org/left"), fetch("https://example.org/right")]);
[left, right]
// ---
const urls = ["https://one.test/", "https://two.test/", "https://three.test/"];
const pages = await Promise.all(urls.map((url) => fetch(url)));
pages.length
// ---
const settled = await Promise.allSettled([1, 2, 3].map((n) => fetch(`https://jsonplaceholder.typicode.com/todos/${n}`)));
settled.filter((each) => each.status === "fulfilled").length
// ---
const fastest = await Promise.race([fetch("https://eu.mirror.test/"), fetch("https://us.mirror.test/")]);
const then = await fetch("https://mirror.test/done");
[fastest, then]
// ---
try {
  const data = await fetch("https://flaky.test/");
  await fetch("https://flaky.test/again");
  data
} catch (error) {
  await fetch("https://alerts.test/", { method: "POST", body: error.message });
}
// ---
async function main() {
  const order = await fetch("https://orders.test/42");
  const stock = await fetch("https://stock.test/items");
  return { order, stock };
}
main()
// ---
async function getJson(path) {
  return await fetch("https://api.acme.dev" + path);
}
const account = await getJson("/account");
const invoices = await getJson("/invoices");
({ account, invoices })
// ---
const get = (path) => fetch(`https://gitlab.com/api/v4/${path}`);
const project = await get("projects/1");
const issues = await get("projects/1/issues");
const merged = await get("projects/1/merge_requests?state=merged");
({ project, issues, merged })
// ---
class Client {
  constructor(base) { this.base = base; this.calls = 0; }
  async get(path) { this.calls++; return fetch(this.base + path); }
}
const client = new Client("https://crm.test/v2");
const contacts = await client.get("/contacts");
const deals = await client.get("/deals");
[contacts, deals, client.calls]
// ---
class Cart {
  #items = [];
  add(item) { this.#items.push(item); return this; }
  get total() { return this.#items.reduce((sum, item) => sum + item.price, 0); }
}
const cart = new Cart().add({ name: "book", price: 12 }).add({ name: "pen", price: 2 });
const rate = await fetch("https://rates.test/EUR");
const tax = await fetch("https://tax.test/DE");
cart.total
// ---
const seen = new Map();
for (const key of ["x", "y", "z"]) seen.set(key, await fetch(`https://kv.test/${key}`));
Object.fromEntries(seen)
// ---
const done = new Set();
const queue = ["/"];
while (queue.length > 0 && done.size < 4) {
  const path = queue.shift();
  done.add(path);
  const page = await fetch("https://crawl.test" + path);
  queue.push(...(page.links ?? ["/next" + done.size]));
}
[...done]
// ---
function* ids() { for (let i = 1; ; i++) yield i; }
const found = [];
for (const id of ids()) {
  found.push(await fetch("https://example.net/items/" + id));
  if (found.length === 3) break;
}
found
// ---
async function* pages(url) {
  let next = url;
  for (let n = 0; n < 3 && next; n++) {
    const page = await fetch(next);
    yield page;
    next = page.next ?? url + "?page=" + (n + 2);
  }
}
const all = [];
for await (const page of pages("https://paged.test/list")) all.push(page);
all
// ---
const retry = async (ask, times) => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask(attempt);
    } catch (error) {
      if (attempt === times) throw error;
    }
  }
};
await retry((n) => fetch("https://unsteady.test/?n=" + n), 3);
await retry((n) => fetch("https://unsteady.test/more?n=" + n), 3);
// ---
const sleepTime = 1000;
const first = await fetch("https://jobs.test/1");
await new Promise((resolve) => setTimeout(resolve, sleepTime));
const second = await fetch("https://jobs.test/1");
first === second
// ---
for (let i = 0; i < 3; i++) {
  await sleep(60000);
  const status = await fetch("https://builds.test/status");
  if (status.done) break;
}
// ---
let state = "pending";
while (state === "pending") {
  const job = await fetch("https://api.replicate.com/v1/predictions/abc");
  state = job.status ?? "pending";
  await sleep(5000);
}
state
// ---
const hits = await callTool("search", { query: "sea level", limit: 5 });
const page = await callTool("open", { url: hits?.[0]?.url ?? "https://example.org" });
const summary = await callTool("summarise", { text: page });
summary
// ---
const files = await callTool("list_files", { path: "/tmp" });
const contents = [];
for (const file of files.slice?.(0, 3) ?? []) contents.push(await callTool("read_file", { path: file }));
const answer = await callTool("ask_user", { question: "Delete them?" });
answer
// ---
const plan = await callTool("plan", { goal: "book a trip" });
const [flight, hotel] = await Promise.all([callTool("book_flight", { to: "LIS" }), callTool("book_hotel", { city: "Lisbon" })]);
({ plan, flight, hotel })
// ---
const approval = await waitForEvent("approved");
await fetch("https://payments.test/pay", { method: "POST", body: JSON.stringify({ approval }) });
"paid"
// ---
await fetch("https://mail.test/send", { method: "POST", body: JSON.stringify({ to: "ann@example.org", text: "Hello" }) });
const reply = await waitForEvent("reply", { timeout: 86400000 });
reply
// ---
const event = await Promise.race([waitForEvent("payment"), sleep(3600000)]);
const receipt = await fetch("https://receipts.test/", { method: "POST", body: String(event) });
receipt
// --- response
const response = await fetch("https://api.github.com/users/octocat");
const user = await response.json();
const repos = await (await fetch(`https://api.github.com/users/${user.login}/repos`)).json();
repos.length
// --- response
const r = await fetch("https://httpbin.org/get");
if (!r.ok) throw new Error(`HTTP ${r.status}`);
const body = await r.json();
const s = await fetch("https://httpbin.org/headers", { headers: { Accept: "application/json" } });
[r.status, body, s.headers.get("content-type")]
// --- response
const res = await fetch("https://example.org/data.csv");
const text = await res.text();
const rows = text.split("\n").map((line) => line.split(","));
await fetch("https://example.org/import", { method: "POST", body: JSON.stringify(rows) });
rows.length
// --- response
async function api(path, options = {}) {
  const response = await fetch(`https://api.notion.com/v1${path}`, {
    ...options,
    headers: { Authorization: "Bearer secret", "Content-Type": "application/json", ...options.headers },
  });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}
const page = await api("/pages/1");
const created = await api("/pages", { method: "POST", body: JSON.stringify({ parent: page.id }) });
await api("/comments", { method: "POST", body: JSON.stringify({ page: created.id, text: "done" }) });
// --- response
const login = await fetch("https://auth.test/token", {
  method: "POST",
  headers: { "Content-Type": "application/x-www-form-urlencoded" },
  body: new URLSearchParams({ grant_type: "client_credentials", client_id: "me" }),
});
const { access_token: token } = await login.json();
const me = await fetch("https://auth.test/me", { headers: { Authorization: `Bearer ${token}` } });
await me.json();
// --- response
const headers = new Headers({ "X-Api-Key": "abc" });
const list = await (await fetch("https://tickets.test/open", { headers })).json();
for (const ticket of Array.isArray(list) ? list : [list])
  await fetch(`https://tickets.test/${ticket.id}`, { method: "PATCH", headers, body: JSON.stringify({ seen: true }) });
// --- response
const one = await (await fetch("https://pokeapi.co/api/v2/pokemon/1")).json();
const two = await (await fetch("https://pokeapi.co/api/v2/pokemon/2")).json();
one.weight > two.weight ? one.name : two.name
// --- response
const url = new URL("https://maps.test/geocode");
url.searchParams.set("q", "Berlin");
const place = await (await fetch(url)).json();
url.searchParams.set("q", "Paris");
const other = await (await fetch(url)).json();
[place, other]
// --- response
const graph = await fetch("https://api.linear.app/graphql", {
  method: "POST",
  body: JSON.stringify({ query: "query { issues { nodes { id title } } }", variables: { first: 10 } }),
});
const { data, errors } = await graph.json();
if (errors) throw new Error(errors[0].message);
const more = await fetch("https://api.linear.app/graphql", { method: "POST", body: JSON.stringify({ query: "{ viewer { id } }" }) });
(await more.json()).data ?? data
// ---
const messages = [{ role: "user", content: "What is the weather in Rome?" }];
for (let step = 0; step < 4; step++) {
  const reply = await fetch("https://api.openai.com/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model: "gpt", messages }),
  });
  messages.push({ role: "assistant", content: reply.text ?? "..." });
  if (reply.done) break;
}
messages.at(-1).content
// ---
const history = [];
const ask = async (content) => {
  history.push({ role: "user", content });
  const answer = await callTool("llm", { messages: history });
  history.push({ role: "assistant", content: answer });
  return answer;
};
const idea = await ask("Suggest a name for a bakery.");
const better = await ask("Something shorter, please.");
({ idea, better, turns: history.length })
// ---
const tools = { add: ({ a, b }) => a + b, now: () => "2024-01-01", upper: ({ text }) => String(text).toUpperCase() };
let result = await fetch("https://model.test/step", { method: "POST", body: "{}" });
for (const call of result.calls ?? [{ tool: "now" }, { tool: "add", args: { a: 1, b: 2 } }]) {
  const value = tools[call.tool](call.args ?? {});
  result = await fetch("https://model.test/step", { method: "POST", body: JSON.stringify({ value }) });
}
result
// ---
const config = { region: "eu-west-1", retries: 3, tags: ["a", "b"], nested: { deep: { value: 1.5 } } };
const saved = await fetch("https://config.test/", { method: "PUT", body: JSON.stringify(config) });
const loaded = await fetch("https://config.test/");
JSON.stringify(saved) === JSON.stringify(loaded)
// ---
const { id, name = "unknown", ...rest } = await fetch("https://example.org/record");
const { status } = await fetch("https://example.org/record/" + id, { method: "DELETE" });
({ id, name, rest, status })
// ---
const inventory = await fetch("https://warehouse.test/stock");
const low = Object.entries(inventory).filter(([, amount]) => amount < 10).map(([key]) => key);
const ordered = await fetch("https://warehouse.test/orders", { method: "POST", body: low.join() });
({ low, ordered })
// ---
const counts = {};
for (const word of "the quick brown fox jumps over the lazy dog the end".split(" ")) counts[word] = (counts[word] ?? 0) + 1;
const posted = await fetch("https://stats.test/words", { method: "POST", body: JSON.stringify(counts) });
const again = await fetch("https://stats.test/words");
[posted, again]
// ---
const log = [];
const step = async (name, work) => {
  log.push(`${name}: begin`);
  const value = await work();
  log.push(`${name}: end`);
  return value;
};
await step("build", () => fetch("https://ci.test/build"));
await step("test", () => fetch("https://ci.test/test"));
await step("deploy", () => fetch("https://ci.test/deploy"));
log
// ---
const cache = new Map();
async function lookup(key) {
  if (!cache.has(key)) cache.set(key, await fetch("https://dictionary.test/" + key));
  return cache.get(key);
}
[await lookup("cat"), await lookup("dog"), await lookup("cat")]
// ---
const compose = (...fs) => (x) => fs.reduceRight((value, f) => f(value), x);
const shout = compose((s) => s + "!", (s) => String(s).toUpperCase());
const word = await fetch("https://words.test/random");
const next = await fetch("https://words.test/random");
[shout(word.text), shout(next.text)]
// ---
const counter = (() => { let n = 0; return { up: () => ++n, get value() { return n; } }; })();
counter.up();
const limit = await fetch("https://limits.test/");
counter.up();
const left = await fetch("https://limits.test/left");
counter.value
// ---
const start = new Date("2024-03-01T00:00:00Z");
const days = [];
for (let i = 0; i < 3; i++) {
  const day = new Date(start.getTime() + i * 86400000).toISOString().slice(0, 10);
  days.push({ day, value: await fetch(`https://api.exchangerate.host/${day}?base=USD`) });
}
days
// ---
const input = "name=Ada; age=36; city=London";
const parsed = Object.fromEntries([...input.matchAll(/(\w+)=([^;]+)/g)].map(([, key, value]) => [key, value]));
const verified = await fetch("https://verify.test/", { method: "POST", body: JSON.stringify(parsed) });
const stored = await fetch("https://store.test/people", { method: "POST", body: JSON.stringify({ ...parsed, verified }) });
stored
// ---
const emails = (await fetch("https://mail.test/inbox")).items ?? [{ id: 1, subject: "Re: invoice" }, { id: 2, subject: "Hi" }];
const urgent = emails.filter((mail) => /invoice|urgent/i.test(mail.subject));
for (const mail of urgent) await fetch(`https://mail.test/${mail.id}/flag`, { method: "POST" });
urgent.length
// ---
const big = 2n ** 64n;
const proof = await fetch("https://primes.test/" + big);
const factor = await fetch("https://primes.test/factor");
String(big)
// ---
const bytes = new Uint8Array([1, 2, 3, 4]);
const uploaded = await fetch("https://files.test/a.bin", { method: "PUT", body: bytes });
const listed = await fetch("https://files.test/");
[uploaded, listed]
// ---
const controller = new AbortController();
const slow = fetch("https://slow.test/", { signal: controller.signal }).catch((error) => error.name);
const fast = await fetch("https://fast.test/");
controller.abort();
await slow
// ---
const answers = await Promise.any([fetch("https://a.search.test/?q=js"), fetch("https://b.search.test/?q=js")]);
const details = await fetch("https://a.search.test/details");
[answers, details]
// ---
const matrix = [[1, 2], [3, 4]];
const sums = [];
for (const row of matrix) for (const cell of row) sums.push(cell + ((await fetch("https://math.test/" + cell)).value ?? 0));
sums
// ---
const tree = { value: 1, children: [{ value: 2, children: [] }, { value: 3, children: [{ value: 4, children: [] }] }] };
async function visit(node) {
  const label = await fetch("https://labels.test/" + node.value);
  const children = [];
  for (const child of node.children) children.push(await visit(child));
  return { label, children };
}
await visit(tree)
// ---
const groups = Object.groupBy([{ team: "red", id: 1 }, { team: "blue", id: 2 }, { team: "red", id: 3 }], ({ team }) => team);
for (const [team, members] of Object.entries(groups)) {
  await fetch("https://teams.test/" + team, { method: "POST", body: JSON.stringify(members) });
}
// ---
var self = await fetch("https://old.test/style");
var that = await fetch("https://old.test/again", { method: "POST", body: "self=" + self });
var output = [];
for (var i = 0; i < 2; i++) { output.push(await fetch("https://old.test/" + i)); }
output
// ---
function makeRequest(url) { return fetch(url).then(function (data) { return data; }); }
makeRequest("https://promises.test/one")
  .then((one) => makeRequest("https://promises.test/two").then((two) => [one, two]))
  .catch((error) => error.message)
  .finally(() => console.log("finished"))
// ---
console.log("starting");
const version = await fetch("https://registry.npmjs.org/left-pad/latest");
console.log("version", version);
const downloads = await fetch("https://api.npmjs.org/downloads/point/last-week/left-pad");
console.log("downloads", downloads);
({ version, downloads })
// ---
const pipeline = [
  { name: "extract", url: "https://etl.test/extract" },
  { name: "transform", url: "https://etl.test/transform" },
  { name: "load", url: "https://etl.test/load" },
];
const results = {};
for (const { name, url } of pipeline) results[name] = await fetch(url, { method: "POST", body: JSON.stringify(results) });
results
// ---
async function saga() {
  const undo = [];
  try {
    const seat = await fetch("https://seats.test/reserve", { method: "POST" });
    undo.push(() => fetch("https://seats.test/release", { method: "POST", body: seat.id }));
    await fetch("https://cards.test/charge", { method: "POST", body: JSON.stringify({ amount: 99 }) });
    return "booked";
  } catch (error) {
    for (const each of undo.reverse()) await each();
    return error.message;
  }
}
await saga()
// ---
switch ((await fetch("https://router.test/kind")).kind) {
  case "a": await fetch("https://router.test/a"); break;
  case "b": await fetch("https://router.test/b"); break;
  default: await fetch("https://router.test/default");
}
// ---
const sensors = ["kitchen", "garage", "attic"];
const readings = await Promise.all(sensors.map(async (sensor) => {
  const reading = await fetch(`https://home.test/sensors/${sensor}`);
  return { sensor, celsius: reading.value };
}));
const warm = readings.filter(({ celsius }) => celsius > 20);
await fetch("https://home.test/report", { method: "POST", body: JSON.stringify(warm) });
warm.length
// ---
const target = { hits: 0 };
const watched = new Proxy(target, { get(object, key) { object.hits++; return object[key]; } });
watched.a; watched.b;
await fetch("https://proxy.test/" + target.hits);
await fetch("https://proxy.test/end");
target.hits
// ---
const KEY = Symbol("key");
const box = { [KEY]: 1, get double() { return this[KEY] * 2; }, set double(value) { this[KEY] = value / 2; } };
box.double = 8;
box.fetched = await fetch("https://symbols.test/");
box.more = await fetch("https://symbols.test/more");
box[KEY]
// ---
class Shape { area() { return 0; } }
class Square extends Shape {
  static count = 0;
  constructor(side) { super(); this.side = side; Square.count++; }
  area() { return this.side ** 2; }
}
const shapes = [new Square(2), new Square(3)];
const unit = await fetch("https://units.test/length");
const area = await fetch("https://units.test/area", { method: "POST", body: String(shapes.map((s) => s.area())) });
({ unit, area, count: Square.count })
// ---
const slack = (text) => fetch("https://hooks.slack.com/services/T000/B000/XXXX", {
  method: "POST",
  headers: { "Content-type": "application/json" },
  body: JSON.stringify({ text }),
});
const health = await fetch("https://status.test/health");
await slack(health.ok ? "All is well" : "Something is wrong");
await slack("End of report");
// ---
const sheet = await fetch("https://sheets.googleapis.com/v4/spreadsheets/1/values/A1:C3");
const values = sheet.values ?? [["a", 1], ["b", 2], ["c", 3]];
const objects = values.map(([label, amount]) => ({ label, amount }));
const total = objects.reduce((sum, { amount }) => sum + amount, 0);
await fetch("https://sheets.googleapis.com/v4/spreadsheets/1/values/D1", { method: "PUT", body: String(total) });
({ total, objects })
// ---
const movies = await fetch("https://api.themoviedb.org/3/movie/popular");
const ranked = (movies.results ?? []).toSorted((x, y) => y.vote - x.vote).slice(0, 3);
const credits = [];
for (const movie of ranked) credits.push(await fetch(`https://api.themoviedb.org/3/movie/${movie.id}/credits`));
await fetch("https://example.org/movies", { method: "POST", body: JSON.stringify({ ranked, credits }) });
ranked.length
// ---
const limitTo = (n) => {
  let active = 0;
  const waiting = [];
  return async (work) => {
    if (active >= n) await new Promise((resolve) => waiting.push(resolve));
    active++;
    try { return await work(); } finally { active--; waiting.shift()?.(); }
  };
};
const limited = limitTo(2);
await Promise.all([1, 2, 3, 4, 5].map((n) => limited(() => fetch(`https://limited.test/${n}`))));
// ---
const events = [];
addEventListener("unhandledrejection", (event) => { events.push(String(event.reason)); event.preventDefault(); });
Promise.reject(new Error("forgotten"));
await fetch("https://events.test/1");
await fetch("https://events.test/2");
events
// ---
const text = await fetch("https://loripsum.net/api/plaintext");
const sentences = String(text).split(". ");
const translated = [];
for (const sentence of sentences.slice(0, 3)) translated.push(await fetch("https://translate.test/", { method: "POST", body: sentence }));
translated.join(". ")
// ---
const [first, ...others] = await Promise.all(["de", "fr", "es"].map((lang) => fetch(`https://i18n.test/${lang}.json`)));
const merged = Object.assign({}, first, ...others);
await fetch("https://i18n.test/merged.json", { method: "PUT", body: JSON.stringify(merged) });
Object.keys(merged).length
// ---
const user = { name: "Grace", roles: ["admin", "dev"], address: { city: "New York", zip: "10001" } };
const copy = structuredClone(user);
copy.roles.push("owner");
const put = await fetch("https://users.test/grace", { method: "PUT", body: JSON.stringify(copy) });
const check = await fetch("https://users.test/grace");
check?.name === user.name
// ---
let previous, current = await fetch("https://series.test/0");
const changes = [];
for (let n = 1; n <= 3; n++) {
  previous = current;
  current = await fetch(`https://series.test/${n}`);
  changes.push([previous, current]);
}
changes.length
// ---
outer: for (let x = 0; x < 3; x++) {
  for (let y = 0; y < 3; y++) {
    const cell = await fetch(`https://grid.test/${x}/${y}`);
    if (cell.stop) break outer;
    if (y === x) continue outer;
  }
}
// ---
const interval = setInterval(() => console.log("tick"), 30000);
const long = await fetch("https://long.test/report");
clearInterval(interval);
await fetch("https://long.test/done");
// ---
const stack = [1];
const visited = {};
do {
  const node = stack.pop();
  visited[node] = true;
  const { next = [node * 2, node * 2 + 1] } = await fetch("https://graph.test/nodes/" + node);
  for (const n of next) if (!visited[n] && n < 6) stack.push(n);
} while (stack.length);
Object.keys(visited)
// ---
const invoice = { number: "2024-001", lines: [{ text: "Work", hours: 3, rate: 80 }, { text: "Travel", hours: 1, rate: 40 }] };
invoice.net = invoice.lines.reduce((sum, { hours, rate }) => sum + hours * rate, 0);
invoice.vat = Math.round(invoice.net * 19) / 100;
const pdf = await fetch("https://pdf.test/render", { method: "POST", body: JSON.stringify(invoice) });
const sent = await fetch("https://mail.test/send", { method: "POST", body: JSON.stringify({ attach: pdf }) });
sent
// ---
const who = (await fetch("https://id.test/me")) || null;
if (who === null) throw new TypeError("nobody");
const rights = await fetch("https://id.test/rights?user=" + encodeURIComponent(who.id ?? who));
rights
// ---
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function poll(url, every) {
  for (;;) {
    const { done, value } = await fetch(url);
    if (done) return value;
    await wait(every);
  }
}
await poll("https://tasks.test/7", 2000)
// ---
const results = [];
results.push(await fetch("https://seq.test/1"), await fetch("https://seq.test/2"), await fetch("https://seq.test/3"));
results
// ---
await fetch("https://ping.test/");
// ---
(await fetch("https://dog.ceo/api/breeds/image/random")).message
// ---
const price = Number(await fetch("https://prices.test/gold"));
const ounces = await fetch("https://vault.test/ounces");
price * ounces
// ---
const a1 = fetch("https://parallel.test/1"), a2 = fetch("https://parallel.test/2"), a3 = fetch("https://parallel.test/3");
console.log(await a1);
console.log(await a2);
await a3
// ---
const books = await fetch('https://openlibrary.org/search.json?q=dune');
const author = await fetch('https://openlibrary.org/authors/OL79034A.json');
`${books.title} by ${author.name}`
// ---
const token = await fetch('https://login.test/token', { method: 'POST', body: 'user=me' });
const profile = await fetch('https://login.test/profile', { headers: { Authorization: 'Bearer ' + token } });
const photos = await fetch('https://login.test/photos', { headers: { Authorization: 'Bearer ' + token } });
({ profile, photos })
