// Both ends of both streams, against the real proxy.

import assert from "node:assert/strict";
import { allOf, encode, ending, rig, testEach, text } from "./kit.js";

testEach("the client ends first, and reads on", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  const writer = connection.writable.getWriter();
  await writer.write(encode("hello"));
  await writer.close();
  assert.equal((await allOf(socket)).toString(), "hello");
  socket.end("answer after the end");
  assert.equal(await text(connection.readable), "answer after the end");
  const { closeCode } = await connection.closed;
  assert.equal(closeCode, 1000);
});

testEach("the backend ends first, and reads on", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  socket.end("banner");
  assert.equal(await text(connection.readable), "banner");
  const received = allOf(socket);
  const writer = connection.writable.getWriter();
  for (const word of ["still ", "going ", "on"]) await writer.write(encode(word));
  await writer.close();
  assert.equal((await received).toString(), "still going on");
  assert.equal((await connection.closed).closeCode, 1000);
});

testEach("FIN of both crosses", async (t, WebSocket) => {
  const { pair } = await rig(t, WebSocket);
  for (let i = 0; i < 20; i++) {
    const { connection, socket } = await pair();
    const received = allOf(socket);
    await connection.opened;
    const writer = connection.writable.getWriter();
    const written = [writer.write(encode(`up ${i}`)), writer.close()];
    socket.end(`down ${i}`);
    assert.equal(await text(connection.readable), `down ${i}`);
    assert.equal((await received).toString(), `up ${i}`);
    await Promise.all(written);
    assert.equal((await connection.closed).closeCode, 1000);
  }
});

testEach("nothing is sent by either", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  socket.end();
  const [end] = await Promise.all([ending(socket), connection.writable.close()]);
  assert.equal(end, "end");
  assert.equal(await text(connection.readable), "");
  await connection.closed;
});

testEach("an end is behind all bytes, and bytes are as they were", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  const writer = connection.writable.getWriter();
  writer.write(all.buffer.slice(0, 100)); // an ArrayBuffer
  writer.write(all.subarray(100, 150)); // part of one
  writer.write(new DataView(all.buffer, 150, 50));
  writer.write(new Uint8Array(0));
  writer.write(new Uint16Array(all.buffer, 200, 28));
  await writer.close();
  assert.deepEqual(await allOf(socket), Buffer.from(all));
  socket.end(all);
  assert.deepEqual(Buffer.from(await new Response(connection.readable).arrayBuffer()), Buffer.from(all));
});
