// What the tests share: the proxy under test, backends, and clients on each WebSocket that is there.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import net from "node:net";
import path from "node:path";
import readline from "node:readline";
import nodeTest from "node:test";
import { fileURLToPath } from "node:url";
import { connect } from "../tidegate.js";

export const clientFolder = fileURLToPath(new URL("..", import.meta.url));
export const root = path.dirname(path.resolve(clientFolder));
export const binary = path.resolve(process.env.TIDEGATE ?? path.join(root, "build/proxy/tidegate"));

// Debian's packages are in /usr/share/nodejs, which its own node alone looks into.
function load(name) {
  const require = createRequire(import.meta.url);
  try {
    return require(name);
  } catch {
    return require(path.join("/usr/share/nodejs", name));
  }
}

/** The package `ws`: `WS.WebSocketServer` is its server. */
export const WS = load("ws");

const kinds = { ws: WS, ...(globalThis.WebSocket && { global: globalThis.WebSocket }) };

/** A test, ended after a minute. What it does is undone (`t.after`) in reverse. */
export function test(name, body) {
  nodeTest(name, { timeout: 60_000 }, async (t) => {
    const undo = [];
    try {
      await body({ after: (one) => undo.unshift(one), mock: t.mock });
    } finally {
      for (const one of undo) await one();
    }
  });
}

/** The same test on each WebSocket: `ws`, and Node's own if it has one. */
export function testEach(name, body) {
  for (const [kind, WebSocket] of Object.entries(kinds)) test(`${name} [${kind}]`, (t) => body(t, WebSocket));
}

/** Starts `tidegate serve` with these flags; ends it after the test, which fails if it ends badly or says what is no record. */
export async function serve(t, ...flags) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TIDEGATE")));
  const listen = flags.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
  const child = spawn(binary, ["serve", ...listen, "--log-format", "json", ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
    env,
  });
  const records = [];
  const odd = [];
  let news = () => {};
  readline.createInterface({ input: child.stderr }).on("line", (line) => {
    try {
      records.push(JSON.parse(line));
    } catch {
      odd.push(line);
    }
    news();
  });
  const exited = once(child, "exit").then(([status, signal]) => {
    news();
    return status ?? signal;
  });
  const proxy = {
    child,
    exited,
    /** The first record with this message that `condition` likes. */
    async record(message, condition = () => true) {
      for (;;) {
        const found = records.find((r) => r.msg === message && condition(r));
        if (found) return found;
        assert.equal(child.exitCode, null, `no ${message}: ${odd.join("\n")}`);
        await new Promise((resolve) => (news = resolve));
      }
    },
  };
  let isKilled = false;
  proxy.kill = () => {
    isKilled = true;
    child.kill("SIGKILL");
  };
  t.after(async () => {
    child.kill("SIGTERM");
    const status = await exited;
    if (!isKilled) assert.equal(status, 0, odd.join("\n"));
    assert.deepEqual(odd, []);
  });
  const { address, form } = await proxy.record("listening");
  proxy.url = `${form}://${address.replace("127.0.0.1", form === "wss" ? "localhost" : "127.0.0.1")}/`;
  return proxy;
}

/** A TCP server; `handler` gets each connection, which may be half-open. Gives HOST:PORT. */
export async function backend(t, handler) {
  const open = new Set();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => {}); // tests ask for it by once(socket, "error")
    handler(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  return `127.0.0.1:${server.address().port}`;
}

/** A proxy and, one after the other, pairs of a client's connection and the backend's socket. */
export async function rig(t, WebSocket, ...flags) {
  const waiting = [];
  let news = () => {};
  const address = await backend(t, (socket) => {
    socket.pause();
    waiting.push(socket);
    news();
  });
  const proxy = await serve(t, "--backend", address, ...flags);
  return {
    proxy,
    async pair(options) {
      const connection = connect(proxy.url, { WebSocket, ...options });
      t.after(() => connection.abort());
      while (waiting.length === 0) await new Promise((resolve) => (news = resolve));
      return { connection, socket: waiting.shift() };
    },
  };
}

/** How a backend's socket ends: "end" or the code of its error. Its bytes are thrown away. */
export function ending(socket) {
  return new Promise((resolve) => {
    socket.on("end", () => resolve("end"));
    socket.on("error", (error) => resolve(error.code));
    socket.resume();
  });
}

/** All bytes of a Node stream up to its end; fails if it breaks. */
export async function bytesOf(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

/** The same of a backend's socket, which stays writable. */
export function allOf(socket) {
  return new Promise((resolve, reject) => {
    const parts = [];
    socket.on("data", (part) => parts.push(part));
    socket.on("end", () => resolve(Buffer.concat(parts)));
    socket.on("error", reject);
    socket.resume();
  });
}

export const text = (readable) => new Response(readable).text();

export const encode = (string) => new TextEncoder().encode(string);

/** Asserts that it fails with a TidegateError of this code (and Close code). */
export function failsWith(promise, code, closeCode) {
  return assert.rejects(promise, (error) => {
    assert.equal(error.name, "TidegateError", error.stack);
    assert.equal(error.code, code, error.message);
    if (closeCode !== undefined) assert.equal(error.closeCode, closeCode, error.message);
    return true;
  });
}

/** This WebSocket, counting what it receives: `received()` bytes, `until(n)` waits for them. */
export function counting(WebSocket) {
  let received = 0;
  let news = () => {};
  class Counting extends WebSocket {
    constructor(...args) {
      super(...args);
      Counting.last = this;
      this.addEventListener("message", ({ data }) => {
        if (typeof data !== "string") received += data.byteLength;
        news();
      });
    }
  }
  Counting.received = () => received;
  Counting.until = async (count) => {
    while (received < count) await new Promise((resolve) => (news = resolve));
  };
  return Counting;
}

/** A WebSocket server that does what `script(socket, request)` says. Gives its URL. */
export async function fakeServer(t, script, options = {}) {
  const server = new WS.WebSocketServer({ host: "127.0.0.1", port: 0, ...options });
  await once(server, "listening");
  server.on("connection", script);
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return `ws://127.0.0.1:${server.address().port}/`;
}
