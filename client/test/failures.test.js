// A failure is an error with its code, never an end; and what the client gives up is a reset at the backend.

import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFile, mkdtemp, rm } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import os from "node:os";
import path from "node:path";
import { connect, TidegateError } from "../tidegate.js";
import { backend, binary, encode, ending, failsWith, fakeServer, rig, serve, test, testEach, text } from "./kit.js";

testEach("a reset of the backend, behind what it had sent", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  const reader = connection.readable.getReader();
  socket.write("half an ans");
  assert.equal(new TextDecoder().decode((await reader.read()).value), "half an ans");
  socket.resetAndDestroy();
  await failsWith(reader.read(), "ECONNRESET", 4000);
  await failsWith(reader.closed, "ECONNRESET", 4000);
  await failsWith(connection.closed, "ECONNRESET", 4000);
  await failsWith(connection.writable.getWriter().write(encode("x")), "ECONNRESET", 4000);
});

testEach("the proxy is killed in an answer: truncated, and the rest can be read", async (t, WebSocket) => {
  const { proxy, pair } = await rig(t, WebSocket);
  const { connection, socket } = await pair();
  const reader = connection.readable.getReader();
  socket.write("first");
  await reader.read();
  socket.write("second");
  await new Promise((resolve) => setImmediate(resolve));
  proxy.kill();
  let rest = "";
  await failsWith(
    (async () => {
      for (;;) rest += new TextDecoder().decode((await reader.read()).value);
    })(),
    "ETRUNCATED",
    1006,
  );
  assert.ok("second".startsWith(rest));
  await failsWith(connection.closed, "ETRUNCATED");
  await failsWith(connection.writable.getWriter().closed, "ETRUNCATED");
});

testEach("the proxy is killed behind the backend's FIN: the answer is whole, writing is EPIPE", async (t, WebSocket) => {
  const { proxy, pair } = await rig(t, WebSocket);
  const { connection, socket } = await pair();
  socket.end("whole");
  assert.equal(await text(connection.readable), "whole");
  proxy.kill();
  await failsWith(connection.closed, "EPIPE", 1006);
  await failsWith(connection.writable.getWriter().closed, "EPIPE");
});

testEach("a shutdown that does not wait", async (t, WebSocket) => {
  const { proxy, pair } = await rig(t, WebSocket, "--drain-timeout", "1ms");
  const { connection } = await pair();
  await connection.opened;
  proxy.child.kill("SIGTERM");
  await failsWith(text(connection.readable), "ECONNRESET", 1001);
});

testEach("idle too long, before and behind FIN; lifetime", async (t, WebSocket) => {
  const idle = await (await rig(t, WebSocket, "--idle-timeout", "100ms")).pair();
  await failsWith(idle.connection.closed, "ETIMEDOUT", 4005);
  const half = await (await rig(t, WebSocket, "--half-closed-timeout", "100ms")).pair();
  half.socket.resume();
  await half.connection.writable.close();
  await failsWith(half.connection.closed, "ETIMEDOUT", 4006);
  const old = await (await rig(t, WebSocket, "--max-lifetime", "200ms")).pair();
  await failsWith(old.connection.closed, "ETIMEDOUT", 1012);
});

testEach("no backend there", async (t, WebSocket) => {
  const proxy = await serve(t, "--backend", "127.0.0.1:1");
  const connection = connect(proxy.url, { WebSocket });
  await failsWith(text(connection.readable), "EUNREACHABLE", 4003);
  await failsWith(connection.writable.getWriter().write(encode("x")), "EUNREACHABLE");
  await failsWith(connection.closed, "EUNREACHABLE");
});

testEach("no proxy there", async (t, WebSocket) => {
  const connection = connect("ws://127.0.0.1:1/", { WebSocket });
  await failsWith(connection.opened, "EUNREACHABLE", 1006);
  await failsWith(connection.closed, "EUNREACHABLE", 1006);
  await failsWith(connection.readable.getReader().read(), "EUNREACHABLE");
  await failsWith(connection.writable.getWriter().closed, "EUNREACHABLE");
});

testEach("a token that is good, bad, missing", async (t, WebSocket) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "tidegate-client-"));
  t.after(() => rm(folder, { recursive: true }));
  const tokens = path.join(folder, "tokens");
  const token = execFileSync(binary, ["token", "alice", "--append", tokens]).toString().trim();
  const { proxy, pair } = await rig(t, WebSocket, "--tokens", tokens);
  const { connection, socket } = await pair({ token });
  socket.end("you may");
  assert.equal(await text(connection.readable), "you may");
  for (const bad of [{ token: "wrong" }, {}]) {
    const refused = connect(proxy.url, { WebSocket, ...bad });
    const isTold = WebSocket !== globalThis.WebSocket; // browsers, and Node like them, do not tell the status
    await failsWith(refused.opened, isTold ? "EDENIED" : "EUNREACHABLE", 1006);
  }
});

// ---- what the proxy does not do on demand ----

const CLOSES = [
  [1000, "ETRUNCATED"], [1001, "ECONNRESET"], [1002, "EPROTO"], [1003, "EPROTO"], [1005, "ETRUNCATED"], [1006, "ETRUNCATED"],
  [1007, "EPROTO"], [1008, "EDENIED"], [1009, "EPROTO"], [1011, "ECONNRESET"], [1012, "ETIMEDOUT"], [1013, "EDENIED"],
  [4000, "ECONNRESET"], [4001, "EPROTO"], [4002, "ETRUNCATED"], [4003, "EUNREACHABLE"], [4004, "ETIMEDOUT"],
  [4005, "ETIMEDOUT"], [4006, "ETIMEDOUT"], [4007, "ETIMEDOUT"], [4008, "EUNREACHABLE"], [4999, "ECONNRESET"],
];

function closeWith(socket, code) {
  if (code === 1006) socket.terminate();
  else if (code === 1005) socket.close();
  else socket.close(code, `because of ${code}`);
}

testEach("each Close code is its error, behind the bytes before it", async (t, WebSocket) => {
  let code;
  const url = await fakeServer(t, (socket) => {
    socket.send(Buffer.from("part"));
    socket.once("message", () => closeWith(socket, code));
  });
  for (const [closeCode, expected] of CLOSES) {
    code = closeCode;
    const { readable, writable, closed } = connect(url, { WebSocket });
    await failsWith(closed, expected, closeCode);
    await closed.catch((error) => {
      assert.ok(error instanceof TidegateError && error instanceof Error);
      assert.equal(error.reason, closeCode === 1005 || closeCode === 1006 ? "" : `because of ${closeCode}`);
    });
    const reader = readable.getReader(); // only now
    assert.equal(Buffer.from((await reader.read()).value).toString(), "part", `${closeCode}`);
    await failsWith(reader.read(), expected, closeCode);
    await failsWith(writable.getWriter().closed, expected, closeCode);
  }
});

testEach("both have said FIN, and another Close than 1000 comes: what was written may be lost", async (t, WebSocket) => {
  let code;
  const url = await fakeServer(t, (socket) => {
    socket.send("FIN 0");
    socket.on("message", (data) => {
      if (data.toString().startsWith("FIN")) closeWith(socket, code);
    });
  });
  for (const [closeCode, expected] of [[4000, "ECONNRESET"], [1006, "EPIPE"], [1005, "EPIPE"], [4002, "ETRUNCATED"]]) {
    code = closeCode;
    const { readable, writable, closed } = connect(url, { WebSocket });
    assert.equal(await text(readable), "");
    await writable.close();
    await failsWith(closed, expected, closeCode);
  }
});

testEach("Close 1000 behind the peer's FIN, but before ours", async (t, WebSocket) => {
  const url = await fakeServer(t, (socket) => {
    socket.send("FIN 0");
    socket.close(1000);
  });
  const { readable, writable, closed } = connect(url, { WebSocket });
  assert.equal(await text(readable), "");
  await failsWith(closed, "EPIPE", 1000);
  await failsWith(writable.getWriter().write(encode("x")), "EPIPE", 1000);
});

testEach("a FIN whose count is wrong", async (t, WebSocket) => {
  let answered;
  const url = await fakeServer(t, (socket) => {
    answered = once(socket, "close");
    socket.send(Buffer.from("abc"));
    socket.send("FIN 4");
  });
  const { readable, closed } = connect(url, { WebSocket });
  const reader = readable.getReader();
  assert.equal((await reader.read()).value.length, 3);
  await failsWith(reader.read(), "ETRUNCATED", 4002);
  await failsWith(closed, "ETRUNCATED", 4002);
  assert.equal((await answered)[0], 4002);
});

testEach("violations of the protocol", async (t, WebSocket) => {
  let say;
  let answered;
  const url = await fakeServer(t, (socket) => {
    answered = once(socket, "close");
    say(socket);
  });
  const bad = [
    "", "FIN", "FIN ", "FIN 00", "FIN 0x0", "FIN -1", "FIN 0 ", "FIN 9007199254740992", "fin", "fin  0", "Fin 0", "NEW 1", "WINDOW", "WINDOW x",
    "WINDOW 12345678901234567", " FIN 0", "FIN 0\n", "hint \u00fc", `hint ${"x".repeat(121)}`, "hi_nt x",
  ].map((one) => (socket) => socket.send(one));
  bad.push((socket) => {
    socket.send("FIN 0");
    socket.send("FIN 0");
  });
  bad.push((socket) => {
    socket.send("FIN 0");
    socket.send(Buffer.alloc(0));
  });
  for (say of bad) {
    const { closed } = connect(url, { WebSocket });
    await failsWith(closed, "EPROTO", 4001);
    assert.equal((await answered)[0], 4001, String(say));
  }
});

testEach("what is optional is ignored", async (t, WebSocket) => {
  const url = await fakeServer(t, (socket) => {
    for (const one of ["hint x", "a-B9 what ever ~", `hint ${"x".repeat(120)}`, "WINDOW 0", "FIN 0"]) socket.send(one);
    socket.on("message", (data) => data.toString() === "FIN 0" && socket.close(1000));
    socket.send("WINDOW 5"); // may come behind FIN
  });
  const { readable, writable, closed } = connect(url, { WebSocket });
  assert.equal(await text(readable), "");
  await writable.close();
  await closed;
});

testEach("a server that speaks no half-close", async (t, WebSocket) => {
  let answered;
  const url = await fakeServer(
    t,
    (socket) => {
      answered = once(socket, "close");
    },
    { handleProtocols: () => "binary" },
  );
  const { opened, readable } = connect(url, { WebSocket, protocols: ["binary"] });
  await failsWith(opened, "EPROTO", 4001);
  await failsWith(text(readable), "EPROTO", 4001);
  assert.equal((await answered)[0], 4001);
});

// ---- what the client gives up ----

const GIVING_UP = {
  "abort()": ({ abort }) => abort(),
  "abort(reason)": ({ abort }) => abort(new Error("a reason that is much too long for a Close frame: ".repeat(9))),
  "writable.abort()": ({ writable }) => writable.abort(),
  "readable.cancel()": ({ readable }) => readable.cancel(),
  "leaving `for await`": async ({ readable }) => {
    for await (const chunk of readable) if (chunk) break;
  },
  // Not before the bytes are there: libuv takes a reset that it learns of together with bytes for an end.
  "a source that fails": ({ writable }, socket) =>
    new ReadableStream({
      start(controller) {
        socket.once("data", () => controller.error(new Error("disk")));
        controller.enqueue(encode("half an uplo"));
      },
    })
      .pipeTo(writable)
      .catch(() => {}),
  "a chunk that is no bytes": ({ writable }) => assert.rejects(writable.getWriter().write("text"), TypeError),
  "no chunk at all": ({ writable }) => assert.rejects(writable.getWriter().write(null), TypeError),
};

testEach("whatever gives up is a reset at the backend, never an end", async (t, WebSocket) => {
  const { pair } = await rig(t, WebSocket);
  for (const [name, giveUp] of Object.entries(GIVING_UP)) {
    const { connection, socket } = await pair();
    const ended = ending(socket);
    socket.write("something to read");
    await connection.opened;
    await giveUp(connection, socket);
    assert.equal(await ended, "ECONNRESET", name);
    await assert.rejects(connection.closed, name);
  }
});

testEach("an abort while a write waits for a backend that reads nothing", async (t, WebSocket) => {
  const { connection, socket } = await (await rig(t, WebSocket)).pair();
  const writer = connection.writable.getWriter();
  const write = writer.write(new Uint8Array(64_000_000));
  await connection.opened;
  const reason = new Error("enough");
  const aborted = writer.abort(reason);
  await assert.rejects(write, reason);
  await aborted;
  await assert.rejects(connection.readable.getReader().read(), reason);
  socket.destroy();
});
