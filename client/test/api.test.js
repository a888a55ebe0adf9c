// The shapes that web developers know, and what each does to the peer.

import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { once } from "node:events";
import { connect, TidegateError } from "../tidegate.js";
import { allOf, bytesOf, encode, ending, failsWith, fakeServer, rig, test, testEach, text, WS } from "./kit.js";

testEach("a signal that is aborted already opens nothing", async (t) => {
  const never = class {
    constructor() {
      assert.fail("a WebSocket was made");
    }
  };
  const reason = new Error("changed my mind");
  const connection = connect("ws://127.0.0.1:1/", { WebSocket: never, signal: AbortSignal.abort(reason) });
  await assert.rejects(connection.opened, reason);
  await assert.rejects(connection.closed, reason);
  await assert.rejects(text(connection.readable), reason);
  await assert.rejects(connection.writable.getWriter().write(encode("x")), reason);
});

testEach("a signal while it opens, and when it is open", async (t, WebSocket) => {
  const { proxy, pair } = await rig(t, WebSocket);
  const early = new AbortController();
  const opening = connect(proxy.url, { WebSocket, signal: early.signal });
  early.abort();
  await assert.rejects(opening.opened, { name: "AbortError" });
  await assert.rejects(opening.readable.getReader().read(), { name: "AbortError" });

  const late = new AbortController();
  let connection, socket;
  for (;;) {
    ({ connection, socket } = await pair({ signal: late.signal })); // the first may be of the one above
    if (await Promise.race([ending(socket).then(() => false), connection.opened.then(() => true)])) break;
  }
  const ended = ending(socket);
  const read = connection.readable.getReader().read();
  late.abort(new Error("late"));
  await assert.rejects(read, /late/);
  await assert.rejects(connection.closed, /late/);
  await assert.rejects(connection.writable.getWriter().write(encode("x")), /late/);
  assert.equal(await ended, "ECONNRESET");
});

testEach("a signal behind the end does nothing", async (t, WebSocket) => {
  const controller = new AbortController();
  const { connection, socket } = await (await rig(t, WebSocket)).pair({ signal: controller.signal });
  socket.end("kept");
  socket.resume();
  await connection.writable.close();
  assert.equal((await connection.closed).closeCode, 1000);
  controller.abort();
  connection.abort();
  assert.equal(await text(connection.readable), "kept"); // was not read before
});

testEach("asyncDispose waits for the confirmation of a whole exchange, and aborts any other", async (t, WebSocket) => {
  const { pair } = await rig(t, WebSocket);
  const dispose = Symbol.asyncDispose;
  const whole = await pair();
  whole.socket.end();
  const received = allOf(whole.socket);
  await whole.connection.writable.close();
  await text(whole.connection.readable);
  await whole.connection[dispose]();
  assert.equal((await received).length, 0);
  assert.equal((await whole.connection.closed).closeCode, 1000);

  const half = await pair();
  const ended = ending(half.socket);
  await half.connection.opened;
  await half.connection.writable.getWriter().write(encode("half an uplo"));
  await once(half.socket, "data");
  await half.connection[dispose]();
  assert.equal(await ended, "ECONNRESET");
  await assert.rejects(half.connection.closed, { name: "AbortError" });
});

testEach("close() says FIN, throws away what nobody reads, and waits for Close", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair({ window: 1000 });
  socket.end(Buffer.alloc(1_000_000));
  const ended = ending(socket);
  assert.equal((await connection.close()).closeCode, 1000);
  assert.equal(await ended, "end");
});

testEach("close() leaves a reader its bytes, and refuses to go over a writer", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  const writer = connection.writable.getWriter();
  await assert.rejects(connection.close(), TypeError);
  const received = allOf(socket);
  await writer.write(encode("all of it"));
  writer.releaseLock();
  const read = text(connection.readable);
  const closed = connection.close();
  assert.equal((await received).toString(), "all of it");
  socket.end("the answer");
  assert.equal(await read, "the answer");
  assert.equal((await closed).closeCode, 1000);
  assert.equal((await connection.close()).closeCode, 1000);
});

testEach("BYOB: small views, large views, and one that waits when the end comes", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  socket.write("0123456789");
  const reader = connection.readable.getReader({ mode: "byob" });
  let got = "";
  for (let size = 3; got.length < 10; size = 4) {
    const { value } = await reader.read(new Uint8Array(size));
    assert.ok(value.length <= size);
    got += Buffer.from(value).toString();
  }
  assert.equal(got, "0123456789");
  const buffer = new ArrayBuffer(1000);
  const waiting = reader.read(new Uint8Array(buffer, 100, 500));
  socket.write("abc");
  const { value } = await waiting;
  assert.equal(value.byteOffset, 100);
  assert.equal(Buffer.from(value).toString(), "abc");
  const last = reader.read(new Uint8Array(10));
  socket.end();
  const end = await last;
  assert.equal(end.done, true);
  assert.equal(end.value.length, 0);
  await reader.closed;
});

testEach("BYOB and default readers in turn, and a read that waits when it fails", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  socket.write("0123456789");
  const byob = connection.readable.getReader({ mode: "byob" });
  assert.equal(Buffer.from((await byob.read(new Uint8Array(4))).value).toString(), "0123");
  byob.releaseLock();
  const reader = connection.readable.getReader();
  assert.equal(Buffer.from((await reader.read()).value).toString(), "456789");
  const reads = [reader.read(), reader.read()]; // two at a time
  socket.write("a");
  assert.equal(Buffer.from((await reads[0]).value).toString(), "a");
  socket.resetAndDestroy();
  await failsWith(reads[1], "ECONNRESET", 4000);
});

testEach("pipeTo in both directions, through transforms", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  socket.pipe(socket);
  const source = new ReadableStream({
    start(controller) {
      for (const word of ["dü", "plex ", "ünd ", "half-cl", "ose"]) controller.enqueue(word);
      controller.close();
    },
  });
  const said = source.pipeThrough(new TextEncoderStream()).pipeTo(connection.writable);
  let heard = "";
  const sink = new WritableStream({ write: (chunk) => void (heard += chunk) });
  await Promise.all([said, connection.readable.pipeThrough(new TextDecoderStream()).pipeTo(sink)]);
  assert.equal(heard, "düplex ünd half-close");
  await connection.closed;
});

testEach("pipeTo another connection", async (t, WebSocket) => {
  const { pair } = await rig(t, WebSocket);
  const a = await pair();
  const b = await pair();
  const both = [a.connection.readable.pipeTo(b.connection.writable), b.connection.readable.pipeTo(a.connection.writable)];
  a.socket.end("from a to b");
  assert.equal((await allOf(b.socket)).toString(), "from a to b");
  b.socket.end("and back, later");
  assert.equal((await allOf(a.socket)).toString(), "and back, later");
  await Promise.all([...both, a.connection.closed, b.connection.closed]);
});

testEach("Response as source and as sink", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  socket.pipe(socket);
  const sent = new Response('{"answer": 42}').body.pipeTo(connection.writable);
  assert.deepEqual(await new Response(connection.readable).json(), { answer: 42 });
  await sent;
});

testEach("Node's Duplex.fromWeb, half-open", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  const duplex = Duplex.fromWeb(connection, { allowHalfOpen: true });
  duplex.end("question");
  assert.equal((await allOf(socket)).toString(), "question");
  socket.end("answer");
  assert.equal((await bytesOf(duplex)).toString(), "answer");
  assert.equal((await connection.closed).closeCode, 1000);
});

testEach("Node's Duplex.fromWeb: destroy is a reset, a reset is an error", async (t, WebSocket) => {
  const { pair } = await rig(t, WebSocket);
  const ours = await pair();
  const ended = ending(ours.socket);
  await ours.connection.opened;
  Duplex.fromWeb(ours.connection, { allowHalfOpen: true }).on("error", () => {}).destroy();
  assert.equal(await ended, "ECONNRESET");

  const theirs = await pair();
  await theirs.connection.opened; // a backend that resets before that is none
  const duplex = Duplex.fromWeb(theirs.connection, { allowHalfOpen: true });
  const failed = once(duplex, "error");
  duplex.resume();
  theirs.socket.resetAndDestroy();
  const [error] = await failed;
  assert.equal(error.code, "ECONNRESET");
  assert.ok(error instanceof TidegateError);
});

testEach("write after close is refused, and harms nothing", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  const writer = connection.writable.getWriter();
  const received = allOf(socket);
  await writer.write(encode("all"));
  await writer.close();
  await assert.rejects(async () => writer.write(encode("more"))); // a TypeError; Node 20 throws another
  assert.equal((await received).toString(), "all");
  socket.end("answer");
  assert.equal(await text(connection.readable), "answer");
  await connection.closed;
});

testEach("to cancel behind the peer's FIN throws bytes away, and writing goes on", async (t, WebSocket) => {
  let peer;
  const url = await fakeServer(t, (socket) => {
    peer = socket;
    socket.send(Buffer.from("not wanted"));
    socket.send("FIN 10");
    socket.send("WINDOW 100"); // whoever writes in spite of WINDOW 0 below has read the FIN
  });
  const { readable, writable, closed, opened } = connect(url, { WebSocket });
  await opened;
  const fins = [];
  peer.on("message", (data) => {
    fins.push(data.toString());
    if (data.toString() === "FIN 2") peer.close(1000);
  });
  const reader = readable.getReader({ mode: "byob" });
  await reader.read(new Uint8Array(1)); // and 9 are left
  await new Promise((resolve) => peer.once("pong", resolve).ping());
  await reader.cancel();
  const writer = writable.getWriter();
  await writer.write(encode("ok"));
  await writer.close();
  await closed;
  assert.ok(fins.includes("ok"));
});

testEach("nothing is left unhandled when nobody looks at the promises", async (t, WebSocket) => {
  const unhandled = [];
  const note = (error) => unhandled.push(error);
  process.on("unhandledRejection", note);
  t.after(() => process.off("unhandledRejection", note));
  const { closed } = connect("ws://127.0.0.1:1/", { WebSocket });
  connect("ws://127.0.0.1:1/", { WebSocket }).abort();
  await closed.catch(() => {});
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(unhandled, []);
});

test("what is offered: half-close first, then the names, then the token", async (t) => {
  let asked;
  const url = await fakeServer(t, (socket, request) => {
    asked = request.headers["sec-websocket-protocol"];
  });
  const offered = async (options) => {
    const connection = connect(url, { WebSocket: WS, ...options });
    await connection.opened;
    connection.abort();
    return asked.split(/, ?/);
  };
  assert.deepEqual(await offered({}), ["v1.tidegate", "v1.tidegate.window.1048576"]);
  assert.deepEqual(await offered({ window: 1 }), ["v1.tidegate", "v1.tidegate.window.1"]);
  assert.deepEqual(await offered({ protocols: "one" }), ["v1.tidegate", "v1.tidegate.window.1048576", "one"]);
  const [carrier, , one, two, bearer] = await offered({ protocols: ["one", "two"], token: "tøken>?" });
  assert.deepEqual([carrier, one, two], ["v1.tidegate", "one", "two"]);
  const prefix = "base64url.bearer.authorization.tidegate.";
  assert.ok(bearer.startsWith(prefix));
  assert.match(bearer, /^[\w.-]+$/);
  assert.equal(Buffer.from(bearer.slice(prefix.length), "base64url").toString(), "tøken>?");
});

testEach("http: and URL objects", async (t, WebSocket) => {
  const { proxy, pair } = await rig(t, WebSocket);
  const opening = connect(new URL(proxy.url.replace("ws:", "http:")), { WebSocket });
  await opening.opened;
  opening.abort();
  const { connection } = await pair();
  await connection.opened;
});

test("what cannot be meant is refused at once", () => {
  for (const window of [0, -1, 1.5, NaN, Infinity, "1", null, 2 ** 32]) {
    assert.throws(() => connect("ws://127.0.0.1:1/", { WebSocket: WS, window }), RangeError, String(window));
  }
  assert.throws(() => connect("ftp://127.0.0.1:1/", { WebSocket: WS }), SyntaxError);
  assert.throws(() => connect("ws://127.0.0.1:1/", { WebSocket: null }), TypeError);
});

test("an error tells what it is", () => {
  const error = new TidegateError("ECONNRESET", 4000, "backend reset");
  assert.equal(String(error), "TidegateError: ECONNRESET (4000: backend reset)");
  assert.equal(new TidegateError("EPIPE", 1006, "").message, "EPIPE (1006)");
});
