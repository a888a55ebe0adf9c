// Two ways to talk to the demo's backend, and what passes on the wire of each.
//
// Both tell the same events: {kind, lane, bytes, text}, kind one of
//   open, bytes, end, lost (a promise of the other one), stall, go, close, reset
//   window (the page lets so many bytes come, in all: its handshake says so, then its WINDOW)
// and lane "up" (page to backend) or "down".

import { connect } from "/tidegate.js";

const WINDOW = 64; // bytes that may come while the page does not read: little, so that it shows

export function backendUrl() {
    const url = new URL("/", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
}

const sizeOf = (data) => data.byteLength ?? data.size;

// A WebSocket that says what it is sent and what it gets: the drawing shows the wire, and not what
// somebody says he did.
function tapped(tell) {
    return class extends WebSocket {
        constructor(...args) {
            super(...args);
            this.addEventListener("open", () => {
                tell({ kind: "open" });
                const [, first] = /\.window\.(\d+)$/.exec(this.protocol) ?? [];
                if (first) tell({ kind: "window", limit: Number(first) });
            });
            this.addEventListener("message", ({ data }) => this.#show("down", data));
            this.addEventListener("close", ({ code }) => tell({ kind: code < 1006 ? "close" : "reset", code }));
        }
        send(data) {
            this.#show("up", data);
            super.send(data);
        }
        #show(lane, data) {
            if (typeof data !== "string") tell({ kind: "bytes", lane, bytes: sizeOf(data) });
            else if (data.startsWith("FIN ")) tell({ kind: "end", lane, text: data });
            else if (lane === "up" && data.startsWith("WINDOW ")) tell({ kind: "window", limit: Number(data.slice(7)) });
        }
    };
}

export class HalfClosing {
    #socket;
    #writer;
    #isStalled = false;
    #goOn = () => {};

    constructor(tell, onText) {
        this.#socket = connect(backendUrl(), { window: WINDOW, WebSocket: tapped(tell) });
        this.#socket.closed.catch(() => {}); // the tap has seen it
        this.#socket.opened.catch(() => {});
        this.#writer = this.#socket.writable.getWriter();
        this.#writer.closed.catch(() => {});
        this.#read(onText).catch(() => {});
    }

    async #read(onText) {
        const reader = this.#socket.readable.getReader();
        const decoder = new TextDecoder();
        for (;;) {
            if (this.#isStalled) await new Promise((resolve) => (this.#goOn = resolve));
            const { value, done } = await reader.read();
            if (done) return;
            onText(decoder.decode(value, { stream: true }));
        }
    }

    send(bytes) {
        this.#writer.write(bytes).catch(() => {});
    }

    end() {
        this.#writer.close().catch(() => {});
    }

    stall(isStalled) {
        this.#isStalled = isStalled;
        if (!isStalled) this.#goOn();
    }

    abort() {
        this.#socket.abort("by hand");
    }
}

export class Plain {
    #socket;

    constructor(tell, onText) {
        const decoder = new TextDecoder();
        this.#socket = new (tapped(tell))(backendUrl());
        this.#socket.binaryType = "arraybuffer";
        this.#socket.addEventListener("message", ({ data }) => onText(decoder.decode(data, { stream: true })));
    }

    #whenOpen(f) {
        if (this.#socket.readyState === WebSocket.CONNECTING) this.#socket.addEventListener("open", f, { once: true });
        else if (this.#socket.readyState === WebSocket.OPEN) f();
    }

    send(bytes) {
        this.#whenOpen(() => this.#socket.send(bytes));
    }

    end() {
        this.#whenOpen(() => this.#socket.close()); // there is no other way to say it
    }

    stall() {} // nor one to say this

    abort() {
        this.#socket.close(4000);
    }
}
