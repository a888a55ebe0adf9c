// wss: the real proxy with a certificate of an authority of our own.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { connect } from "../tidegate.js";
import { allOf, encode, failsWith, rig, test, text, WS } from "./kit.js";

function certificate(t) {
  const folder = mkdtempSync(path.join(os.tmpdir(), "tidegate-client-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = (name) => path.join(folder, name);
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"].concat(
      ["-addext", "subjectAltName=DNS:localhost", "-days", "2", "-keyout", file("key.pem"), "-out", file("cert.pem")],
    ),
    { stdio: "ignore" },
  );
  return { cert: file("cert.pem"), key: file("key.pem") };
}

test("wss with an authority that `ws` is told; without it, unreachable", async (t) => {
  const { cert, key } = certificate(t);
  const ca = readFileSync(cert);
  class Trusting extends WS {
    constructor(url, protocols) {
      super(url, protocols, { ca });
    }
  }
  const { proxy, pair } = await rig(t, Trusting, "--listen", "wss://127.0.0.1:0", "--tls-cert", cert, "--tls-key", key);
  assert.match(proxy.url, /^wss:/);
  const { connection, socket } = await pair();
  const received = allOf(socket);
  const writer = connection.writable.getWriter();
  await writer.write(encode("sealed"));
  await writer.close();
  assert.equal((await received).toString(), "sealed");
  socket.end("answer");
  assert.equal(await text(connection.readable), "answer");
  assert.equal((await connection.closed).closeCode, 1000);

  const stranger = connect(proxy.url, { WebSocket: WS });
  await failsWith(stranger.opened, "EUNREACHABLE", 1006);
  await assert.rejects(stranger.closed, /certificate/);
});
