// SPDX-License-Identifier: MIT
// srv slowapi for tests in Node: one server, and a session for each test, so that tests may run at once.
// `node --test slowapi_node.mjs` runs the tests below, with `srv` in PATH or named by SRV.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';

/** Starts a server: { url, control, stop }. */
export async function startSlowapi() {
    const options = ['slowapi', '--bind', '127.0.0.1:0', '--control', '127.0.0.1:0', '--journal', '10000'];
    const child = spawn(process.env.SRV ?? 'srv', options, { stdio: ['ignore', 'ignore', 'pipe'] });
    const found = {};
    for await (const line of createInterface({ input: child.stderr })) {
        const match = line.match(/^srv slowapi: (control|listening) on (http:\/\/[^/\s]+)/);
        if (match) found[match[1]] = match[2];
        if (found.control && found.listening) break;
    }
    if (!found.listening) throw new Error('srv slowapi did not start');
    return { url: found.listening, control: found.control, stop: () => child.kill('SIGTERM') };
}

/** What one test sees: its own rules, its own requests. The program under test sends `headers`. */
export class Session {
    constructor(server) {
        this.server = server;
        this.name = randomUUID();
        this.headers = { 'X-Slowapi-Session': this.name };
    }

    async askControl(method, path, query = {}, body = undefined) {
        const search = new URLSearchParams({ session: this.name, ...query });
        const answer = await fetch(`${this.server.control}${path}?${search}`, { method, body });
        return { status: answer.status, text: await answer.text() };
    }

    /** Puts these in force, instead of the test's earlier ones. */
    async rules(...rules) {
        const { status, text } = await this.askControl('PUT', '/rules', {}, JSON.stringify(rules));
        assert.equal(status, 200, text);
    }

    /** Those of the test that fit, oldest first. */
    async requests(search = {}) {
        return JSON.parse((await this.askControl('GET', '/requests', search)).text).requests;
    }

    /** Sums over those of the test that fit: by status, outcome, rule, fault and path. */
    async stats(search = {}) {
        return JSON.parse((await this.askControl('GET', '/stats', search)).text);
    }

    /** `times` is a number, or { 'at-least': 1, 'at-most': 3 }. */
    async assertCalled(times, search = {}) {
        const bounds = typeof times === 'number' ? { times } : times;
        const { status, text } = await this.askControl('GET', '/requests/count', { ...search, ...bounds });
        assert.equal(status, 200, text);
    }

    /** Forgets what the test has asked so far, and begins its sequences anew; its rules stay. */
    async reset() {
        const { status, text } = await this.askControl('POST', '/reset');
        assert.equal(status, 200, text);
    }
}

let server;
before(async () => { server = await startSlowapi(); });
after(() => server.stop());

test('a client tries again', async () => {
    const session = new Session(server);
    await session.rules({ path: '/orders/*', params: 'seq=503,200', body: { paid: true } });
    const ask = () => fetch(`${server.url}/orders/7`, { headers: session.headers });
    assert.equal((await ask()).status, 503);
    assert.deepEqual(await (await ask()).json(), { paid: true });
    await session.assertCalled(2, { path: '/orders/*' });
    await session.assertCalled(0, { path: '/never' });
    assert.equal((await session.requests({ status: '503' })).length, 1);
    await session.reset();
    assert.equal((await ask()).status, 503);
});

test('a scenario of whole answers', async () => {
    const session = new Session(server);
    await session.rules({ name: 'order', path: '/orders/*', answers: [{ status: 503 }, { params: 'delay=20ms', status: 201, body: { id: 7 } }] });
    const ask = () => fetch(`${server.url}/orders/7`, { headers: session.headers });
    assert.equal((await ask()).status, 503);
    assert.deepEqual(await (await ask()).json(), { id: 7 });
    assert.deepEqual((await session.stats()).status, { 503: 1, 201: 1 });
    await session.assertCalled({ 'at-least': 1, 'at-most': 2 }, { rule: 'order' });
});
