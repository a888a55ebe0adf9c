// What is shipped: its size, its files, its types, and the recipes of its README.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { allOf, backend, clientFolder, root, serve, test, WS } from "./kit.js";

const run = promisify(execFile);
const read = (name) => readFileSync(path.join(clientFolder, name), "utf8");

/** A folder in which `import "tidegate"` finds the package, as installed. */
function userFolder(t) {
  const folder = mkdtempSync(path.join(os.tmpdir(), "tidegate-client-"));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(path.join(folder, "node_modules"));
  symlinkSync(clientFolder, path.join(folder, "node_modules", "tidegate"));
  return folder;
}

test("under 3 kB gzipped", () => {
  const size = gzipSync(read("tidegate.js"), { level: 9 }).length;
  assert.ok(size < 3000, `${size} bytes`);
});

test("npm pack has what is meant and nothing else", async (t) => {
  const home = userFolder(t); // npm's cache and settings are none of ours
  const { stdout } = await run("npm", ["pack", "--dry-run", "--json", "--offline"], {
    cwd: clientFolder,
    env: { PATH: process.env.PATH, HOME: home },
  });
  const [{ name, files }] = JSON.parse(stdout);
  assert.equal(name, "tidegate");
  assert.deepEqual(files.map((file) => file.path).sort(), ["LICENSE", "README.md", "package.json", "tidegate.d.ts", "tidegate.js"]);
  assert.equal(read("LICENSE"), readFileSync(path.join(root, "LICENSE"), "utf8"));
});

test("the package has the version of the program", () => {
  const [, version] = /version: '([^']+)'/.exec(readFileSync(path.join(root, "meson.build"), "utf8"));
  assert.equal(JSON.parse(read("package.json")).version, version);
});

const TSC = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--module", "nodenext"];

async function tsc(...args) {
  await run("tsc", [...TSC, ...args], { cwd: clientFolder }).catch(({ stdout }) => assert.fail(stdout));
}

test("types: the module is what tidegate.d.ts says", async () => {
  await tsc("tidegate.d.ts");
  await tsc("--allowJs", "--checkJs", "--noImplicitAny", "false", "--strictNullChecks", "false", "tidegate.js");
});

const USAGE = `
import { connect, TidegateError, type Connection, type ErrorCode, type Options } from "tidegate";
const options: Options = { signal: new AbortController().signal, window: 1, token: "t", protocols: ["p"], WebSocket };
const connection: Connection = connect(new URL("wss://host/"), options);
connect("ws://host/");
const { readable, writable, opened, closed, abort } = connection;
const nothing: Promise<void> = opened;
abort(); abort("why");
closed.then(({ closeCode, reason }) => [closeCode.toFixed(), reason.trim()]);
connection.close().then(({ closeCode }) => closeCode);
connection[Symbol.asyncDispose]().then(() => nothing);
writable.getWriter().write(new Uint8Array(1)); writable.getWriter().write(new ArrayBuffer(1));
new Response("body").body!.pipeTo(writable);
readable.pipeTo(writable);
readable.pipeThrough(new TransformStream<Uint8Array, Uint8Array>());
const body: BodyInit = readable;
const error: Error = new TidegateError("EPIPE", 1006, "");
if (error instanceof TidegateError) { const code: ErrorCode = error.code; switch (code) { case "ETRUNCATED": error.closeCode + 1; } }
// @ts-expect-error
writable.getWriter().write("text");
// @ts-expect-error
connect("ws://host/", { windows: 1 });
// @ts-expect-error
new TidegateError("ENOENT", 1000, "");
// @ts-expect-error
connection.readable = readable;
export { body };
`;

test("types: what users write compiles, what they should not write does not", async (t) => {
  const file = path.join(userFolder(t), "usage.mts");
  writeFileSync(file, USAGE);
  await tsc(file);
});

// ---- the recipes ----

async function recipe(t, name) {
  const [, code] = new RegExp(`^\`\`\`js recipe=${name}\\n(.*?)^\`\`\``, "ms").exec(read("README.md"));
  const file = path.join(userFolder(t), `${name}.mjs`);
  writeFileSync(file, code);
  return import(pathToFileURL(file));
}

test("there are three recipes, and each has its test", () => {
  const names = [...read("README.md").matchAll(/^```js recipe=(\w+)$/gm)].map(([, name]) => name);
  assert.deepEqual(names, ["request", "lines", "download"]);
});

test("recipe: request and answer", async (t) => {
  const { request } = await recipe(t, "request");
  const address = await backend(t, (socket) => {
    const all = [];
    socket.on("data", (data) => all.push(data));
    socket.on("end", () => socket.end(`${Buffer.concat(all).toString().split("\n").length - 1}`));
  });
  const { url } = await serve(t, "--backend", address);
  assert.equal(await request(url, "alice\nbob\n", { WebSocket: WS }), "2");
  assert.equal(await request(url, new Blob(["1\n".repeat(500_000)]), { WebSocket: WS }), "500000");
});

test("recipe: a line protocol", async (t) => {
  const { lineConnection } = await recipe(t, "lines");
  const address = await backend(t, (socket) => {
    socket.write("220 hé"); // cut in a letter and in a line
    socket.write("llo\n");
    socket.on("data", (data) => socket.write(data.toString().toUpperCase()));
    socket.on("end", () => socket.end("bye\nwithout a line's end"));
  });
  const { url } = await serve(t, "--backend", address);
  const { lines, say, end } = lineConnection(url, { WebSocket: WS });
  const next = async () => (await lines.next()).value;
  assert.equal(await next(), "220 héllo");
  await say("one");
  assert.equal(await next(), "ONE");
  await say("two\nthree");
  assert.deepEqual([await next(), await next()], ["TWO", "THREE"]);
  await end();
  assert.deepEqual([await next(), await next(), await next()], ["bye", "without a line's end", undefined]);
});

test("recipe: download with progress, whole, stopped and cut", async (t) => {
  const { download } = await recipe(t, "download");
  const size = 5_000_000;
  const address = await backend(t, async (socket) => {
    const name = (await allOf(socket)).toString();
    if (name === "cut\n") socket.write(Buffer.alloc(size), () => socket.resetAndDestroy());
    else socket.end(Buffer.alloc(size, "x"));
  });
  const { url } = await serve(t, "--backend", address);
  let last = 0;
  let count = 0;
  const onProgress = (bytes) => {
    assert.ok(bytes > last);
    last = bytes;
    count++;
  };
  const blob = await download(url, "whole", { onProgress, WebSocket: WS });
  assert.equal(blob.size, size);
  assert.equal(last, size);
  assert.ok(count > 1);

  const controller = new AbortController();
  const stopping = { onProgress: () => controller.abort(), signal: controller.signal, WebSocket: WS };
  await assert.rejects(download(url, "whole", stopping), { name: "AbortError" });
  await assert.rejects(download(url, "cut", { onProgress: () => {}, WebSocket: WS }), { code: "ECONNRESET" });
});
