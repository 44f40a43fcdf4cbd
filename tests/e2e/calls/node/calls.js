// Every call of npm's `memcached`, through each node in turn: written through one, read through the next.
// node calls.js calls|flush ADDRESS ADDRESS ADDRESS; what it prints is told in script.py.
"use strict";

const { isDeepStrictEqual } = require("node:util");
const Memcached = require("memcached");

const HUNDRED = 100;
// The client's own plumbing, and (from flush on) what `flush` tells.
const ELSEWHERE = [
  "connect", "buffer", "multi", "command", "connectionIssue", "delegateCallback", "makeCallback", "rawDataReceived",
  "flush", "flushAll",
];

const called = new Set();
const [mode, ...addresses] = process.argv.slice(2);
let checks = 0, failed = false, where = "";

function fail(text) {
  failed = true;
  console.log(`FAIL ${where}${text}`.replaceAll("\n", " | "));
}

function shown(value) {
  const text = typeof value === "bigint" ? String(value) : JSON.stringify(value) ?? String(value);
  return text.length > 200 ? `${text.slice(0, 200)}… (${text.length} characters)` : text;
}

function same(what, found, wanted) {
  checks++;
  if (!isDeepStrictEqual(found, wanted)) fail(`${what}: ${shown(found)}, not ${shown(wanted)}`);
}

function holds(what, found, held) {
  checks++;
  if (!held) fail(`${what}: ${shown(found)}`);
}

// A client whose calls return promises: `{ no: text }` for an error.
function connect(servers, options = {}) {
  const client = new Memcached(servers, { timeout: 10000, retries: 0, retry: 1, maxKeySize: 250, poolSize: 2,
    ...options });
  return new Proxy(client, {
    get: (target, name) => {
      if (name === "end") return () => { called.add(name); target.end(); };
      return (...given) => new Promise((resolve) => {
        called.add(name);
        target[name](...given, (error, found) => {
          // The client empties its list when the callback returns.
          const answer = Array.isArray(found) ? [...found] : found;
          resolve(error ? { no: String((Array.isArray(error) ? error[0] : error).message ?? error) } : answer);
        });
      });
    },
  });
}

const NOT_STORED = { no: "Item is not stored" };

async function values({ writer, reader, key }) {
  const typed = {
    text: "v", empty: "", unicode: "schön", number: 12.5, json: { a: [1, null, "x"] }, large: "large ".repeat(150000),
  };
  for (const [name, value] of Object.entries(typed)) {
    same(`set ${name}`, await writer.set(key(name), value, 0), true);
    same(`get ${name}`, await reader.get(key(name)), value);
  }
  same("set a buffer", await writer.set(key("binary"), Buffer.from([0, 1, 255]), 0), true);
  same("get it", [...await reader.get(key("binary"))], [0, 1, 255]);
  same("get of a missing key", await reader.get(key("missing")), undefined);
  same("a long key is hashed", [await writer.set("k".repeat(300), "x", 0), await reader.get("k".repeat(300))], [true,
    "x"]);
}

async function storage({ writer, reader, key }) {
  same("add", [await writer.add(key("add"), "1", 0), await reader.add(key("add"), "2", 0)], [true, NOT_STORED]);
  same("replace", [await reader.replace(key("add"), "3", 0), await writer.replace(key("missing"), "3", 0)], [true,
    NOT_STORED]);
  same("append", [await writer.append(key("add"), "4"), await writer.append(key("missing"), "4")], [true, NOT_STORED]);
  same("prepend", [await reader.prepend(key("add"), "2"), await writer.prepend(key("missing"), "4")], [true,
    NOT_STORED]);
  same("both are there", await writer.get(key("add")), "234");
  same("del", [await writer.del(key("add")), await writer.del(key("add"))], [true, false]);
  await writer.set(key("again"), "x", 0);
  same("delete", [await reader.delete(key("again")), await writer.get(key("again"))], [true, undefined]);
}

async function many({ writer, reader, key }) {
  const wanted = {};
  for (let number = 0; number < HUNDRED; number++) wanted[key(`many-${number}`)] = `value ${number}`;
  for (const [name, value] of Object.entries(wanted)) same("set", await writer.set(name, value, 0), true);
  same("getMulti", await reader.getMulti([...Object.keys(wanted), key("missing")]), wanted);
  same("get of a list", Object.keys(await reader.get(Object.keys(wanted).slice(0, 3))).length, 3);
}

async function compareAndSwap({ writer, reader, key }) {
  await writer.set(key("cas"), "a", 0);
  const found = await reader.gets(key("cas"));
  same("gets", found[key("cas")], "a");
  holds("its token", found.cas, /^\d+$/.test(found.cas));
  same("gets of nothing", await reader.gets(key("missing")), undefined);
  same("cas", await writer.cas(key("cas"), "b", found.cas, 0), true);
  same("cas again", await reader.cas(key("cas"), "c", found.cas, 0), false);
  same("cas of nothing", await reader.cas(key("missing"), "c", found.cas, 0), false);
  same("it holds", await reader.get(key("cas")), "b");
}

async function counters({ writer, reader, key }) {
  await writer.set(key("n"), 10, 0);
  same("incr", [await writer.incr(key("n"), 5), await reader.increment(key("n"), 1)], [15, 16]);
  same("decr", [await reader.decr(key("n"), 7), await writer.decrement(key("n"), 100)], [9, 0]);
  same("of nothing", [await writer.incr(key("missing"), 1), await writer.decr(key("missing"), 1)], [false, false]);
  await writer.set(key("word"), "word", 0);
  const refused = await writer.incr(key("word"), 1);
  holds("incr of a word", refused, /non-numeric value/.test(refused?.no));
}

async function expiry({ writer, reader, key }) {
  same("a second to live", await writer.set(key("short"), "x", 1), true);
  same("a hundred", await writer.set(key("kept"), "x", 100), true);
  same("touch", [await reader.touch(key("kept"), 1000), await reader.touch(key("missing"), 1)], [true, false]);
  same("in 1970", [await writer.set(key("past"), "x", 2592001), await reader.get(key("past"))], [true, undefined]);
  same("in 2033", [await writer.set(key("dated"), "x", 2000000000), await reader.get(key("dated"))], [true, "x"]);
}

async function expired({ reader, key }) {
  same("after more than a second", [await reader.get(key("short")), await reader.get(key("kept"))], [undefined, "x"]);
}

async function statistics({ writer, reader, key, at }) {
  await writer.set(key("counted"), "x", 0);
  const [general] = await writer.stats();
  same("stats names its server", general.server, addresses[at]);
  const wanted = ["pid", "uptime", "version", "curr_items", "cmd_get", "cmd_set", "limit_maxbytes"];
  same("stats has its fields", wanted.filter((field) => !(field in general)), []);
  holds("they are numbers", general.cmd_set, general.cmd_set >= 1 && general.pid > 1);
  for (const name of ["settings", "statsSettings"]) {
    const [told] = await writer[name]();
    same(`${name} has its fields`, ["maxbytes", "maxconns", "evictions",
      "cas_enabled"].filter((field) => !(field in told)), []);
  }
  for (const name of ["slabs", "statsSlabs"]) {
    const [told] = await writer[name]();
    holds(name, told, Object.keys(told).some((field) => /^\d+$/.test(field) && told[field].chunk_size > 0));
  }
  for (const name of ["items", "statsItems"]) {
    const [told] = await writer[name]();
    const classes = Object.keys(told).filter((field) => /^\d+$/.test(field));
    holds(name, told, classes.length > 0 && classes.every((field) => told[field].number >= 1));
  }
  const [told] = await writer.items();
  const dumps = [];
  for (const slab of Object.keys(told).filter((field) => /^\d+$/.test(field))) {
    const dump = await writer.cachedump(addresses[at], Number(slab), 0);
    dumps.push(...[dump].flat());
  }
  // Stock memcached dumps its coldest items alone: a class may well have none.
  holds("cachedump", dumps, dumps.length > 0 && dumps.every((one) => one === undefined || (one.key && one.b >= 0)));
  same("the next answer is its own", await reader.get(key("counted")), "x");
  const [version] = await writer.version();
  holds("version", version, /^\d+\.\d+\.\d+$/.test(version.version) && version.server === addresses[at]);
}

// The client's ketama ring over all nodes; then every node answers for every key.
async function ring({ at }) {
  const all = connect([...new Set(addresses)], { namespace: `npm-${at}-ring-` }), wanted = {};
  for (let number = 0; number < HUNDRED; number++) wanted[`r${number}`] = `value ${number}`;
  for (const [name, value] of Object.entries(wanted)) same("set over all nodes", await all.set(name, value, 0), true);
  same("getMulti over all nodes", await all.getMulti(Object.keys(wanted)), wanted);
  const one = connect(addresses[at], { namespace: `npm-${at}-ring-` });
  same("one node has them all", await one.getMulti(Object.keys(wanted)), wanted);
  same("stats of each", (await all.stats()).length, new Set(addresses).size);
  all.end();
  same("calls after end connect again", await one.get("r7"), "value 7");
  one.end();
}

async function flush({ writer, reader, key }) {
  await writer.set(key("flushed"), "x", 0);
  same("flush", [(await reader.flush())[0], await writer.get(key("flushed"))], [true, undefined]);
  await writer.set(key("flushed"), "x", 0);
  same("flushAll", [(await writer.flushAll())[0], await reader.get(key("flushed"))], [true, undefined]);
}

async function tell(stories) {
  for (const story of stories) {
    for (let at = 0; at < addresses.length; at++) {
      where = `n${at + 1}: `;
      const writer = connect(addresses[at]), reader = connect(addresses[(at + 1) % addresses.length]);
      try {
        await story({ writer, reader, at, key: (name) => `npm-${at}-${name}` });
      } catch (error) {
        fail(`${story.name} ends: ${error.stack.split("\n").slice(0, 2).join(" ")}`);
      }
      writer.end();
      reader.end();
    }
  }
  where = "";
}

async function main() {
  if (mode === "flush") {
    await tell([flush]);
  } else {
    await tell([expiry, values, storage, many, compareAndSwap, counters, statistics, ring]);
    await new Promise((wake) => setTimeout(wake, 2100));
    await tell([expired]);
    const offered = Object.keys(Memcached.prototype).filter((name) => typeof Memcached.prototype[name] === "function");
    const unmade = offered.filter((name) => !called.has(name) && !ELSEWHERE.includes(name));
    same("calls that the client offers and the script does not make", unmade, []);
  }
  console.log(`DONE calls=${called.size} checks=${checks}`);
  process.exit(failed ? 1 : 0);
}

main();
