// Much data, slow readers on either side, windows.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { connect } from "../tidegate.js";
import { allOf, counting, encode, fakeServer, rig, test, testEach, text } from "./kit.js";

const MB = 1_000_000;

testEach("100 MB up, FIN, and 100 MB down, with equal hashes", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  const block = randomBytes(MB);
  const blocks = function* () {
    for (let i = 0; i < 100; i++) {
      block.writeUInt32LE(i);
      yield Uint8Array.from(block);
    }
  };
  const expected = createHash("sha256");
  for (const one of blocks()) expected.update(one);
  const wanted = expected.digest("hex");

  const up = createHash("sha256");
  socket.on("data", (data) => up.update(data));
  socket.on("end", () => pipeline(Readable.from(blocks()), socket));
  socket.resume();
  const all = blocks();
  const source = new ReadableStream({
    pull(controller) {
      const { value, done } = all.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
  await source.pipeTo(connection.writable);

  const down = createHash("sha256");
  for await (const chunk of connection.readable) down.update(chunk);
  assert.equal(up.digest("hex"), wanted);
  assert.equal(down.digest("hex"), wanted);
  assert.equal((await connection.closed).closeCode, 1000);
});

testEach("a reader that stalls holds the backend at its window", async (t, WebSocket) => {
  const Counting = counting(WebSocket);
  const window = 100_000;
  const { connection, socket } = await (await rig(t, Counting)).pair({ window });
  const writer = connection.writable.getWriter();
  const reader = connection.readable.getReader({ mode: "byob" });

  // The backend has a byte that we sent later: so the proxy had all the time it needed to let more through.
  let heard = () => {};
  socket.on("data", (data) => heard(data.length));
  socket.resume();
  const knock = async () => {
    const one = new Promise((resolve) => (heard = resolve));
    await writer.write(encode("?"));
    assert.equal(await one, 1);
  };
  const passed = async (count) => {
    await Counting.until(count);
    for (let i = 0; i < 5; i++) {
      await knock();
      assert.equal(Counting.received(), count);
    }
  };
  const flood = Buffer.alloc(32 * MB, "x");
  socket.end(flood);
  await passed(window);

  let taken = 0;
  const take = async (count) => {
    for (const until = taken + count; taken < until; ) {
      const { value } = await reader.read(new Uint8Array(Math.min(until - taken, 65536)));
      taken += value.length;
    }
  };
  await take(window / 2 - 1); // not worth a WINDOW yet
  await passed(window);
  await take(1);
  await passed(window + window / 2);
  assert.ok(socket.writableLength > 0); // the backend waits
  await take(flood.length - taken);
  assert.equal((await reader.read(new Uint8Array(1))).done, true);
  await writer.close();
  await connection.closed;
});

testEach("100 MB each way at once through an echo", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  socket.pipe(socket); // reads no more than it is rid of
  const block = randomBytes(MB);
  const up = createHash("sha256");
  let count = 0;
  const source = new ReadableStream({
    pull(controller) {
      block.writeUInt32LE(count++);
      up.update(block);
      controller.enqueue(Uint8Array.from(block));
      if (count === 100) controller.close();
    },
  });
  const sent = source.pipeTo(connection.writable);
  const down = createHash("sha256");
  for await (const chunk of connection.readable) down.update(chunk);
  await sent;
  assert.equal(down.digest("hex"), up.digest("hex"));
  assert.equal((await connection.closed).closeCode, 1000);
});

testEach("a window of one byte", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair({ window: 1 });
  socket.end("one at a time");
  await connection.writable.close();
  assert.equal(await text(connection.readable), "one at a time");
  socket.resume();
  await connection.closed;
});

testEach("a backend that stalls holds the writer", async (t, WebSocket) => {
  const Counting = counting(WebSocket);
  const { connection, socket } = await (await rig(t, Counting)).pair();
  const writer = connection.writable.getWriter();
  const block = randomBytes(MB);
  const hash = createHash("sha256");
  let written = 0;
  let most = 0;
  let isHeld = () => {};
  const held = new Promise((resolve) => (isHeld = resolve));
  const writing = (async () => {
    while (written < 64) {
      const one = writer.write(block);
      const timer = setTimeout(isHeld, 1000); // only if the kernel's buffers took nothing for so long
      await one;
      clearTimeout(timer);
      written++;
      hash.update(block);
      most = Math.max(most, Counting.last.bufferedAmount);
    }
    await writer.close();
  })();
  await held;
  assert.ok(written < 64, "nothing was held");
  const received = await Promise.all([allOf(socket), writing]);
  assert.equal(createHash("sha256").update(received[0]).digest("hex"), hash.digest("hex"));
  assert.ok(most <= 1048576 + 65536 + 1024, `${most} bytes in the WebSocket`);
  socket.end();
  assert.equal(await text(connection.readable), "");
});

/** A fake server that takes this name of those that are offered. `peer.socket` is its end; `peer.until(n)` messages. */
async function listening(t, name, begin) {
  const peer = { messages: [] };
  let news = () => {};
  const script = (socket) => {
    peer.socket = socket;
    socket.on("message", (data, isBinary) => {
      peer.messages.push(isBinary ? data.length : data.toString());
      news();
    });
    begin(socket);
  };
  peer.until = async (count) => {
    while (peer.messages.length < count) await new Promise((resolve) => (news = resolve));
  };
  peer.url = await fakeServer(t, script, { handleProtocols: (names) => [...names].find((one) => one === name) });
  return peer;
}

testEach("a peer that knows only v1.tidegate: its WINDOW is kept when it comes, and FIN needs none", async (t, WebSocket) => {
  const peer = await listening(t, "v1.tidegate", (socket) => {
    socket.send("WINDOW 10");
    socket.send("WINDOW 5"); // smaller: ignored
    socket.send("hint nothing that has to be understood");
    socket.send(Buffer.from("!")); // whoever has read this has them
  });
  const { readable, writable } = connect(peer.url, { WebSocket, window: 77 });
  const reader = readable.getReader();
  await reader.read();
  const writer = writable.getWriter();
  const written = writer.write(new Uint8Array(25));
  await peer.until(2);
  assert.deepEqual(peer.messages, ["WINDOW 77", 10]);
  peer.socket.send("WINDOW 25");
  await written;
  await writer.close();
  await peer.until(4);
  assert.deepEqual(peer.messages, ["WINDOW 77", 10, 15, "FIN 25"]);
  peer.socket.send("FIN 1");
  assert.equal((await reader.read()).done, true);
  peer.socket.close(1000);
});

testEach("a peer that knows only v1.tidegate and says no WINDOW takes everything", async (t, WebSocket) => {
  const peer = await listening(t, "v1.tidegate", () => {});
  const { writable } = connect(peer.url, { WebSocket, window: 77 });
  const writer = writable.getWriter();
  await writer.write(new Uint8Array(100_000));
  await writer.close();
  await peer.until(4);
  assert.deepEqual(peer.messages, ["WINDOW 77", 65536, 34464, "FIN 100000"]);
});

testEach("a peer that took our window: not a byte before its own, and ours is not said again", async (t, WebSocket) => {
  const peer = await listening(t, "v1.tidegate.window.10", (socket) => socket.send(Buffer.from("01234")));
  const { readable, writable } = connect(peer.url, { WebSocket, window: 10 });
  const reader = readable.getReader();
  const writer = writable.getWriter();
  const written = writer.write(new Uint8Array(25));
  assert.equal((await reader.read()).value.length, 5); // half: worth a WINDOW
  await peer.until(1);
  assert.deepEqual(peer.messages, ["WINDOW 15"]);
  peer.socket.send("WINDOW 20");
  await peer.until(2);
  peer.socket.send("WINDOW 25");
  await written;
  await peer.until(3);
  assert.deepEqual(peer.messages, ["WINDOW 15", 20, 5]);
});

testEach("a peer that took our window: FIN waits for none", async (t, WebSocket) => {
  const peer = await listening(t, "v1.tidegate.window.1048576", () => {});
  const { writable } = connect(peer.url, { WebSocket });
  await writable.close();
  await peer.until(1);
  assert.deepEqual(peer.messages, ["FIN 0"]);
});

/** A WebSocket without a network, whose `bufferedAmount` is as the test says. */
class Silent {
  readyState = 0;
  bufferedAmount = 0;
  protocol = "v1.tidegate";
  messages = [];
  constructor() {
    Silent.last = this;
    queueMicrotask(() => {
      this.readyState = 1;
      this.onopen();
    });
  }
  send(message) {
    this.messages.push(message);
  }
  close() {}
}

test("no timer while the WebSocket takes everything; none above 10 ms while it does not", async (t) => {
  const delays = [];
  t.mock.method(globalThis, "setTimeout", (resolve, delay) => {
    delays.push(delay);
    if (delays.length === 3) Silent.last.bufferedAmount = 0;
    queueMicrotask(resolve);
  });
  const { writable } = connect("ws://nowhere/", { WebSocket: Silent });
  const writer = writable.getWriter();
  for (let i = 0; i < 10; i++) await writer.write(new Uint8Array(100_000));
  assert.deepEqual(delays, []);
  Silent.last.bufferedAmount = 2 ** 21;
  await writer.write(new Uint8Array(10));
  await writer.close();
  assert.equal(delays.length, 3);
  assert.ok(Math.max(...delays) <= 10);
  assert.equal(Silent.last.messages.at(-1), "FIN 1000010");
});
