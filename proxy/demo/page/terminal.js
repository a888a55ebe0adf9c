// A line terminal to the demo's backend.

import { connect } from "/tidegate.js";
import { backendUrl } from "/exchange.js";

const $ = (id) => document.getElementById(id);
const encoder = new TextEncoder();
let session; // {socket, writer, isEnded}

function print(text, className) {
    const e = document.createElement("span");
    if (className) e.className = className;
    e.textContent = text;
    const screen = $("screen");
    screen.append(e);
    screen.scrollTop = screen.scrollHeight;
}

function state(id, text, mood) {
    $(id).textContent = text;
    $(id).className = mood ?? "";
}

function update() {
    const isOpen = !session.isEnded && !session.isOver;
    for (const id of ["line", "enter", "end"]) $(id).disabled = !isOpen;
    $("abort").disabled = session.isOver;
    if (session.isOver) $("again").focus();
    else if (isOpen) $("line").focus();
    else $("screen").focus();
}

async function read({ socket }) {
    for await (const text of socket.readable.pipeThrough(new TextDecoderStream())) print(text);
}

function finish(mine, error) {
    if (mine !== session) return;
    mine.isOver = true;
    if (error) {
        print(`[broken: ${error.code ?? error.name}: ${error.message}]\n`, "bad");
        if (!mine.isEnded) state("up", "broken", "bad");
        if (!mine.isAnswered) state("down", "broken", "bad");
    } else print("[both directions complete]\n", "mark");
    update();
}

function begin() {
    const socket = connect(backendUrl());
    const mine = { socket, writer: socket.writable.getWriter(), isEnded: false, isOver: false };
    session = mine;
    mine.writer.closed.catch(() => {}); // socket.closed tells
    state("up", "connecting");
    state("down", "connecting");
    socket.opened.then(
        () => {
            if (mine !== session) return;
            state("up", "open");
            state("down", "open");
        },
        () => {},
    );
    read(mine).then(
        () => {
            if (mine !== session) return;
            mine.isAnswered = true;
            state("down", "ended: FIN", "end");
        },
        () => {},
    );
    socket.closed.then(
        () => finish(mine),
        (error) => finish(mine, error),
    );
    update();
}

function end() {
    if (session.isEnded || session.isOver) return;
    session.isEnded = true;
    print("^D\n", "mark");
    state("up", "ended: FIN", "end");
    session.writer.close().catch(() => {});
    update();
}

$("entry").onsubmit = (event) => {
    event.preventDefault();
    const line = $("line").value + "\n";
    $("line").value = "";
    print(line, "mine");
    session.writer.write(encoder.encode(line)).catch(() => {});
};
$("line").onkeydown = (event) => {
    if (!event.ctrlKey || event.key !== "d") return;
    event.preventDefault();
    end();
};
$("end").onclick = end;
$("abort").onclick = () => session.socket.abort("by hand");
$("again").onclick = () => {
    if (!session.isOver) session.socket.abort("again");
    print("\n");
    begin();
};

begin();
