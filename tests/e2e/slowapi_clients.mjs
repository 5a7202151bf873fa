// SPDX-License-Identifier: MIT
// What clients of Node see of slowapi: fetch, node:http, and Debian's undici and axios when they are installed.
// test_slowapi_clients.py runs it: API, API_TLS and CONTROL are URLs without a slash at their end.
import assert from "node:assert/strict";
import http from "node:http";
import https from "node:https";
import { createRequire } from "node:module";
import test from "node:test";
import { gunzipSync } from "node:zlib";

const { API, API_TLS, CONTROL, CA_FILE } = process.env;
const require = createRequire(import.meta.url);

function find(name) {
    try {
        return require(name); // in NODE_PATH, where Debian has it
    } catch {
        return null;
    }
}

const undici = find("undici");
const axios = find("axios");
const without = (module, name) => (module === null ? { skip: `there is no node-${name}` } : {});

async function stats() {
    return (await fetch(`${CONTROL}/stats`)).json();
}

async function wait_for(condition) {
    for (const end = Date.now() + 20_000; Date.now() < end; await new Promise((done) => setTimeout(done, 5)))
        if (await condition()) return;
    assert.fail("it did not come true");
}

const get = async (path, options) => (await fetch(API + path, options)).json();
const cause_of = (promise) => promise.then(() => "none", (error) => error.cause?.code ?? error.code ?? error.name);

// --- fetch: requests and answers --------------------------------------------------------------------

test("fetch follows, shows and refuses redirects", async () => {
    const reply = await fetch(`${API}/redirect/3`);
    assert.deepEqual([reply.status, reply.redirected, reply.url], [200, true, `${API}/get`]);
    const shown = await fetch(`${API}/absolute-redirect/2`, { redirect: "manual" });
    assert.deepEqual([shown.status, shown.headers.get("location")], [302, `${API}/absolute-redirect/1`]);
    await assert.rejects(fetch(`${API}/redirect/1`, { redirect: "error" }), TypeError);
    await assert.rejects(fetch(`${API}/redirect/21`), TypeError);
    assert.equal((await fetch(`${API}/redirect/20`)).status, 200);
});

test("fetch keeps the method and the body where the status says so", async () => {
    const send = (status) => get(`/redirect-to?url=/anything&status_code=${status}`, { method: "POST", body: "kept" });
    for (const status of [307, 308]) {
        const seen = await send(status);
        assert.deepEqual([seen.method, seen.data], ["POST", "kept"]);
    }
    for (const status of [301, 302, 303]) {
        const seen = await send(status);
        assert.deepEqual([seen.method, seen.data], ["GET", ""]);
    }
});

test("fetch sees cookies, and sends them", async () => {
    const reply = await fetch(`${API}/cookies/set?a=1`, { redirect: "manual" });
    assert.equal(reply.headers.get("set-cookie"), "a=1; Path=/");
    assert.deepEqual(await get("/cookies", { headers: { cookie: "a=1; b=two" } }), { cookies: { a: "1", b: "two" } });
});

test("fetch decodes what is coded", async () => {
    assert.equal((await get("/gzip")).gzipped, true);
    assert.equal((await get("/deflate")).deflated, true);
    assert.equal((await get("/brotli")).brotli, true);
    const reply = await fetch(`${API}/?body=${"x".repeat(200)}&encoding=gzip`);
    assert.equal(reply.headers.get("content-encoding"), "gzip");
    assert.equal(await reply.text(), "x".repeat(200));
});

test("fetch sends forms, files and JSON", async () => {
    const form = new FormData();
    form.set("text", "zwölf €");
    form.set("file", new Blob(["content"], { type: "text/plain" }), "f.txt");
    const seen = await get("/post", { method: "POST", body: form });
    assert.deepEqual([seen.form, seen.files, seen.data], [{ text: "zwölf €" }, { file: "content" }, ""]);
    const params = await get("/post", { method: "POST", body: new URLSearchParams([["a", "1"], ["a", "x&y"]]) });
    assert.deepEqual(params.form, { a: ["1", "x&y"] });
    const value = { price: 19.99, list: [null, true, "ü"] };
    assert.deepEqual((await get("/anything", { method: "PUT", body: JSON.stringify(value) })).json, value);
});

test("fetch uploads a stream whose length it does not know", async () => {
    const parts = ["one ", "two ", "three"].map((part) => new TextEncoder().encode(part));
    const body = new ReadableStream({ pull: (to) => (parts.length > 0 ? to.enqueue(parts.shift()) : to.close()) });
    const seen = await get("/post", { method: "POST", body, duplex: "half" });
    assert.deepEqual([seen.data, seen.headers["Transfer-Encoding"]], ["one two three", "chunked"]);
});

test("fetch reads a stream piece by piece", async () => {
    let text = "", pieces = 0;
    for await (const piece of (await fetch(`${API}/sse?count=5&interval=5ms`)).body) {
        text += new TextDecoder().decode(piece);
        pieces++;
    }
    assert.equal(text.match(/^event: ping\ndata: \{.*\}\n$/gm).length, 5);
    assert.ok(pieces >= 1);
    const lines = (await (await fetch(`${API}/stream/3?x=1`)).text()).trimEnd().split("\n").map(JSON.parse);
    assert.deepEqual(lines.map((line) => [line.id, line.args.x]), [[0, "1"], [1, "1"], [2, "1"]]);
});

test("fetch has no body where there is none", async () => {
    for (const status of [204, 205, 304]) assert.equal(await (await fetch(`${API}/status/${status}`)).text(), "");
    const head = await fetch(`${API}/get`, { method: "HEAD" });
    assert.ok(Number(head.headers.get("content-length")) > 0);
    assert.equal(await head.text(), "");
});

test("fetch asks again with an ETag", async () => {
    const reply = await fetch(`${API}/etag/abc`);
    assert.equal(reply.headers.get("etag"), '"abc"');
    assert.equal((await fetch(`${API}/etag/abc`, { headers: { "if-none-match": '"abc"' } })).status, 304);
    assert.equal((await fetch(`${API}/etag/abc`, { headers: { "if-match": '"x"' } })).status, 412);
});

test("fetch gets ranges", async () => {
    const reply = await fetch(`${API}/range/100`, { headers: { range: "bytes=26-28" } });
    assert.deepEqual([reply.status, reply.headers.get("content-range"), await reply.text()], [206, "bytes 26-28/100", "abc"]);
});

test("fetch keeps its connection", async () => {
    const before = (await stats()).connections;
    for (let i = 0; i < 5; i++) await (await fetch(`${API}/get`)).text();
    await (await fetch(`${API}/get?close=true`)).text();
    await (await fetch(`${API}/get`)).text();
    assert.ok((await stats()).connections - before <= 3);
});

// --- fetch: delays and faults -----------------------------------------------------------------------

test("fetch gives up, and slowapi counts that", async () => {
    const before = (await stats()).client_aborts;
    const controller = new AbortController();
    const sleeping = fetch(`${API}/get?delay=60s`, { signal: controller.signal });
    await wait_for(async () => (await stats()).in_flight === 1);
    controller.abort();
    await assert.rejects(sleeping, { name: "AbortError" });
    await assert.rejects(fetch(`${API}/get?delay=60s`, { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
    await wait_for(async () => (await stats()).client_aborts === before + 2);
});

test("fetch gives up in the middle of a body", async () => {
    const before = (await stats()).client_aborts;
    const controller = new AbortController();
    const reader = (await fetch(`${API}/drip?numbytes=100&duration=600`, { signal: controller.signal })).body.getReader();
    await reader.read();
    controller.abort();
    await assert.rejects(reader.read(), { name: "AbortError" });
    await wait_for(async () => (await stats()).client_aborts === before + 1);
});

test("fetch names the faults", async () => {
    const fault = (kind, path = "/bytes/1000") => cause_of(fetch(`${API}${path}?fault=${kind}`).then((reply) => reply.arrayBuffer()));
    assert.equal(await fault("rst"), "ECONNRESET");
    assert.equal(await fault("fin"), "UND_ERR_SOCKET");
    assert.equal(await fault("truncate"), "UND_ERR_SOCKET");
    assert.match(await fault("garbage"), /^HPE_/);
    assert.match(await fault("badchunk", "/stream/3"), /^HPE_/);
    assert.match(await fault("badheader"), /^HPE_|UND_ERR/);
    assert.match(await fault("hugeheader=1m"), /OVERFLOW|HPE_/);
    assert.notEqual(await fault("length=%2B10"), "none");
    for (const harmless of ["nolength", "interim=3", "drip=1us", "hang=5ms@body", "bandwidth=1m", "early", "corrupt:1"])
        assert.equal(await fault(harmless), "none", harmless);
});

test("fetch is told when to come back", async () => {
    const ask = () => fetch(`${API}/get?limit=1/1h&key=node`);
    assert.equal((await ask()).status, 200);
    const reply = await ask();
    assert.equal(reply.status, 429);
    assert.ok(Number(reply.headers.get("retry-after")) > 0);
});

// --- node:http --------------------------------------------------------------------------------------

function ask(url, options = {}, body = null, client = http) {
    return new Promise((done, fail) => {
        const request = client.request(url, options, (reply) => {
            const parts = [];
            reply.on("data", (part) => parts.push(part)).on("error", fail);
            reply.on("end", () => done({ status: reply.statusCode, headers: reply.headers, trailers: reply.trailers, body: Buffer.concat(parts) }));
        });
        request.on("error", fail);
        request.end(body);
    });
}

test("node:http reads trailers", async () => {
    const reply = await ask(`${API}/trailers?X-Sum=7&X-Other=two`);
    assert.deepEqual([reply.trailers["x-sum"], reply.trailers["x-other"]], ["7", "two"]);
});

test("node:http asks before it asks, as a browser does", async () => {
    const asked = { origin: "https://page.example", "access-control-request-method": "PUT", "access-control-request-headers": "x-one,x-two" };
    const reply = await ask(`${API}/put`, { method: "OPTIONS", headers: asked });
    assert.equal(reply.status, 200);
    assert.equal(reply.headers["access-control-allow-origin"], "https://page.example");
    assert.equal(reply.headers["access-control-allow-headers"], "x-one,x-two");
    assert.ok(reply.headers["access-control-allow-methods"].split(", ").includes("PUT"));
    const after = await ask(`${API}/put`, { method: "PUT", headers: { origin: "https://page.example" } }, "body");
    assert.deepEqual([after.status, after.headers["access-control-allow-credentials"]], [200, "true"]);
});

test("node:http waits for 100 Continue, and sees early hints", async () => {
    const seen = [];
    await new Promise((done, fail) => {
        const request = http.request(`${API}/post?fault=interim=2`, { method: "POST", headers: { expect: "100-continue", "content-length": 4 } });
        request.on("continue", () => request.end("body", () => seen.push("continue")));
        request.on("information", (told) => seen.push(told.statusCode));
        request.on("response", (reply) => reply.resume().on("end", done));
        request.on("error", fail);
        request.flushHeaders();
    });
    assert.ok(seen.includes("continue"));
    assert.equal(seen.filter((status) => status === 103).length, 2);
});

test("node:http gets coded bytes as they are", async () => {
    const reply = await ask(`${API}/gzip`);
    assert.equal(JSON.parse(gunzipSync(reply.body)).gzipped, true);
});

test("node:https trusts the authority that slowapi wrote", async () => {
    const ca = await import("node:fs").then((fs) => fs.readFileSync(CA_FILE));
    const reply = await ask(`${API_TLS}/get`, { ca }, null, https);
    assert.equal(JSON.parse(reply.body).url, `${API_TLS}/get`);
    assert.match(await cause_of(ask(`${API_TLS}/get`, {}, null, https)), /SELF_SIGNED|UNABLE_TO/);
});

// --- undici -----------------------------------------------------------------------------------------

test("undici pipelines", without(undici, "undici"), async () => {
    const client = new undici.Client(API, { pipelining: 5 });
    const ids = await Promise.all([...Array(10).keys()].map(async (id) => {
        const reply = await client.request({ path: `/anything/${id}?delay=2ms`, method: "GET" });
        return Number((await reply.body.json()).url.split("/").pop().split("?")[0]);
    }));
    assert.deepEqual(ids, [...Array(10).keys()]);
    await client.close();
});

test("undici reads trailers, and gives up in time", without(undici, "undici"), async () => {
    const reply = await undici.request(`${API}/trailers?X-Sum=7`);
    await reply.body.text();
    assert.equal(reply.trailers["x-sum"], "7");
    const client = new undici.Client(API, { headersTimeout: 100 });
    assert.equal(await cause_of(client.request({ path: "/get?delay=60s", method: "GET" })), "UND_ERR_HEADERS_TIMEOUT");
    await client.destroy();
});

test("a WebSocket echoes", without(undici?.WebSocket ?? globalThis.WebSocket ?? null, "undici"), async () => {
    const socket = new (undici?.WebSocket ?? globalThis.WebSocket)(`${API.replace("http", "ws")}/websocket/echo`);
    const heard = [];
    await new Promise((done, fail) => {
        socket.onopen = () => ["hello", "zwölf €", "x".repeat(60_000)].forEach((text) => socket.send(text));
        socket.onmessage = ({ data }) => heard.push(data.length) === 3 && socket.close();
        socket.onerror = fail;
        socket.onclose = done;
    });
    assert.deepEqual(heard, [5, 7, 60_000]);
});

// --- axios ------------------------------------------------------------------------------------------

test("axios sends and reads", without(axios, "axios"), async () => {
    const api = axios.create({ baseURL: API });
    assert.deepEqual((await api.get("/get", { params: { a: 1, list: [1, 2] } })).data.args, { a: "1", "list[]": ["1", "2"] });
    assert.deepEqual((await api.post("/post", { x: [1] })).data.json, { x: [1] });
    assert.deepEqual((await api.postForm("/post", { a: "1" })).data.form, { a: "1" });
    assert.equal((await api.get("/brotli")).data.brotli, true);
    assert.equal((await api.get("/redirect/3")).request.path, "/get");
    assert.equal((await api.get("/basic-auth/user/secret", { auth: { username: "user", password: "secret" } })).data.authenticated, true);
});

test("axios names what went wrong", without(axios, "axios"), async () => {
    const api = axios.create({ baseURL: API, timeout: 10_000 });
    assert.equal((await api.get("/status/503").catch((error) => error.response)).status, 503);
    assert.equal(await cause_of(api.get("/get?delay=60s", { timeout: 50 })), "ECONNABORTED");
    assert.equal(await cause_of(api.get("/redirect/9", { maxRedirects: 3 })), "ERR_FR_TOO_MANY_REDIRECTS");
    assert.equal(await cause_of(api.get("/get?fault=rst")), "ECONNRESET");
    assert.match(await cause_of(api.get("/bytes/9?fault=truncate")), /ECONNRESET|ERR_BAD_RESPONSE/);
});
