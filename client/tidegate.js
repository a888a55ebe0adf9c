// TCP over WebSocket, with half-close: README.md

const CARRIER = "v1.tidegate";
const MESSAGE = 65536;
const AHEAD = 1048576; // then we wait
const POLL_MS = 4; // nothing tells that bufferedAmount fell

const CODES = {
  EPROTO: [1002, 1003, 1007, 1009, 4001],
  EDENIED: [1008, 1013],
  ETIMEDOUT: [1012, 4004, 4005, 4006, 4007],
  ETRUNCATED: [1000, 1005, 1006, 4002],
  EUNREACHABLE: [4003, 4008],
};

export class TidegateError extends Error {
  constructor(code, closeCode, reason) {
    super(`${code} (${closeCode}${reason && ": " + reason})`);
    Object.assign(this, { name: "TidegateError", code, closeCode, reason });
  }
}

function deferred() {
  const d = {};
  d.promise = new Promise((...both) => [d.resolve, d.reject] = both);
  d.promise.catch(() => {});
  return d;
}

function bearer(token) {
  const text = btoa(String.fromCharCode(...new TextEncoder().encode(token)));
  return "base64url.bearer.authorization.tidegate." + text.replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
}

/** @type {typeof import("./tidegate.js").connect} */
export function connect(url, options = {}) {
  const { signal, window = 1048576, token, protocols = [], WebSocket = globalThis.WebSocket } = options;
  if (!window || window !== window >>> 0) throw new RangeError("bad window");
  if (!WebSocket) throw new TypeError("no WebSocket");

  const opened = deferred();
  const closed = deferred();
  let socket, isOpen, isOver, failure;

  // ---- down ----

  const queue = []; // the stream's own would be lost when it fails
  let down, hasEnd, isWanted, isBroken, isTold;
  let received = 0;
  let taken = 0;
  let granted = window;

  function take() {
    let chunk = queue.shift();
    const request = down.byobRequest;
    isWanted = false; // first: what follows may want more
    if (request) {
      const { buffer, byteOffset, byteLength } = request.view;
      if (chunk.length > byteLength) queue.unshift(chunk.subarray(byteLength));
      chunk = chunk.subarray(0, byteLength);
      new Uint8Array(buffer, byteOffset).set(chunk);
    }
    taken += chunk.length;
    if (request) request.respond(chunk.length);
    else down.enqueue(chunk);
    if (isOver || hasEnd || granted - taken > window / 2) return;
    granted = taken + window;
    socket.send(`WINDOW ${granted}`);
  }

  // What is wanted; then the end or the failure.
  function feed() {
    if (isWanted && queue.length) take();
    if (queue.length || isTold || !(isBroken || hasEnd)) return;
    isTold = true;
    if (isBroken) return down.error(failure);
    down.close();
    down.byobRequest?.respond(0);
  }

  const readable = new ReadableStream({
    type: /** @type {any} */ ("bytes"),
    start(controller) { down = controller; },
    pull() {
      isWanted = true;
      feed();
    },
    cancel(reason) {
      isTold = true;
      queue.length = 0;
      if (!hasEnd) abort(reason);
    },
  });

  // ---- up ----

  let up, hasEnded;
  let sent = 0;
  let limit = Infinity; // until the peer says a window
  let wake = (_) => {};

  // FIN needs no window.
  async function room(isFin) {
    while (!isOver) {
      const isBlocked = socket.readyState > 1 || (!isFin && sent >= limit);
      if (!isBlocked && socket.bufferedAmount <= AHEAD) return;
      await new Promise((resolve) => isBlocked ? wake = resolve : setTimeout(resolve, POLL_MS));
    }
    throw failure;
  }

  const writable = new WritableStream({
    start(controller) {
      up = controller;
      // Not at once: Node's stream must not fail inside its own abort().
      up.signal.addEventListener("abort", () => queueMicrotask(() => abort(up.signal.reason)));
      return opened.promise;
    },
    async write(chunk) {
      const { buffer = chunk, byteOffset = 0, byteLength } = chunk ?? {};
      if (!(buffer instanceof ArrayBuffer)) abort(new TypeError("not bytes"));
      for (let at = 0; at < byteLength || isOver; ) {
        await room();
        const part = new Uint8Array(buffer, byteOffset + at, Math.min(MESSAGE, limit - sent, byteLength - at));
        socket.send(part);
        at += part.length;
        sent += part.length;
      }
    },
    async close() {
      await room(true);
      socket.send(`FIN ${sent}`);
      hasEnded = true;
    },
  });

  // ---- both ----

  // What is settled or closed stays so.
  function end(error) {
    if (isOver) return;
    isOver = true;
    failure = error;
    isBroken ||= !hasEnd;
    signal?.removeEventListener("abort", onAbort);
    globalThis.removeEventListener?.("pagehide", onAbort);
    opened.reject(error);
    closed.reject(error);
    up.error(error);
    wake(0);
    feed();
  }

  function abort(reason) {
    if (isOver) return;
    reason ??= new DOMException("aborted", "AbortError");
    isBroken = true;
    queue.length = 0;
    end(reason); // first: to close may be an error
    socket?.close(4000, String(reason.message ?? reason).slice(0, 40)); // 123 bytes at most
  }

  function fail(closeCode, reason) {
    let code = Object.keys(CODES).find((key) => CODES[key].includes(closeCode)) ?? "ECONNRESET";
    if (hasEnd && [1000, 1005, 1006].includes(closeCode)) code = "EPIPE";
    if (!isOpen) code = / response: 4/.test(reason) ? "EDENIED" : "EUNREACHABLE"; // only `ws` tells
    end(new TidegateError(code, closeCode, reason));
  }

  function refuse(closeCode, reason) {
    fail(closeCode, reason);
    socket.close(closeCode, reason);
  }

  function control(text) {
    const [, word, digits] = /^(FIN|WINDOW) (0|[1-9]\d*)$/.exec(text) ?? [];
    const number = +digits;
    if (!Number.isSafeInteger(number)) {
      if (!/^[a-z][a-zA-Z\d-]* [!-~][ -~]*$/.test(text) || text.length > 125) refuse(4001, "unknown control");
    } else if (word === "WINDOW") {
      if (limit === Infinity || limit < number) limit = number;
      wake(0);
    } else if (hasEnd) {
      refuse(4001, "data behind FIN");
    } else if (number !== received) {
      refuse(4002, `FIN ${number} after ${received} bytes`);
    } else {
      hasEnd = true;
      feed();
    }
  }

  const onAbort = () => abort(signal?.reason);
  if (signal?.aborted) {
    onAbort();
  } else {
    const windowed = `${CARRIER}.window.${window}`;
    const offer = [CARRIER, windowed].concat(protocols, token === undefined ? [] : bearer(token));
    socket = new WebSocket(String(url).replace(/^http/, "ws"), offer);
    signal?.addEventListener("abort", onAbort);
    globalThis.addEventListener?.("pagehide", onAbort); // a page may be kept, frozen
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (isOver) return;
      isOpen = true;
      if (socket.protocol === windowed) limit = 0;
      else if (socket.protocol === CARRIER) socket.send(`WINDOW ${window}`);
      else return refuse(4001, "no half-close");
      opened.resolve();
    };
    socket.onmessage = ({ data }) => {
      if (isOver) return;
      if (typeof data === "string") return control(data);
      if (hasEnd) return refuse(4001, "data behind FIN");
      received += data.byteLength;
      if (data.byteLength) queue.push(new Uint8Array(data));
      feed();
    };
    socket.onerror = ({ message }) => {
      if (!isOpen) fail(1006, message ?? "");
    };
    socket.onclose = ({ code, reason }) => {
      if (isOver) return;
      if (hasEnded && hasEnd && code === 1000) closed.resolve({ closeCode: code, reason });
      fail(code, reason);
    };
  }

  return {
    readable,
    writable,
    opened: opened.promise,
    closed: closed.promise,
    abort,
    async close() {
      if (!hasEnded && !isOver) {
        if (writable.locked) throw new TypeError("writable is locked");
        writable.close().catch(() => {}); // closed tells
      }
      readable.pipeTo(new WritableStream()).catch(() => {});
      return closed.promise;
    },
    async [Symbol.asyncDispose]() {
      if (hasEnded && hasEnd) await closed.promise;
      else abort();
    },
  };
}
