// What the tests call in their pages.

import { connect, TidegateError } from "/tidegate.js";

async function sha256(bytes) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("");
}

// Bytes without a pattern.
function random(size) {
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
    return bytes;
}

// A WebSocket that counts what comes, whoever takes it.
class Counted extends WebSocket {
    static received = 0;
    constructor(...args) {
        super(...args);
        this.addEventListener("message", ({ data }) => {
            if (typeof data !== "string") Counted.received += data.byteLength;
        });
    }
}

// How a promise of the library's ends.
async function outcome(promise) {
    try {
        return { ok: (await promise) ?? null };
    } catch (error) {
        return { name: error.name, code: error.code, closeCode: error.closeCode, isOurs: error instanceof TidegateError };
    }
}

const encode = (text) => new TextEncoder().encode(text);

// `new Response(readable).text()` does the same, but has an error of its own when the stream fails.
async function read(readable) {
    let text = "";
    for await (const piece of readable.pipeThrough(new TextDecoderStream())) text += piece;
    return text;
}

Object.assign(globalThis, { connect, TidegateError, sha256, random, Counted, outcome, encode, read });
