// The half-close page: one exchange twice, with tidegate's client library and with a plain WebSocket.

import { Drawing } from "/drawing.js";
import { HalfClosing, Plain } from "/exchange.js";

const WORDS = [
    "wave", "tide", "moon", "shore", "gull", "anchor", "reef", "harbour", "salt", "drift", "bay", "lagoon",
    "ebb", "flood", "pier", "mast", "swell", "dune", "keel", "lock", "gate", "isle", "jetty", "oar",
];
const WORDS_A_SEND = 4;
const LANE_NAMES = { up: "page → service", down: "service → page" };

const $ = (id) => document.getElementById(id);
const encoder = new TextEncoder();

function add(parent, name, className, text = "") {
    const e = document.createElement(name);
    if (className) e.className = className;
    e.textContent = text;
    parent.append(e);
    return e;
}

// One of the two, with all that is shown of it.
class Panel {
    constructor(section, Connection) {
        this.Connection = Connection;
        this.isPlain = Connection === Plain;
        this.verdict = add(section, "p", "verdict");
        this.drawing = new Drawing(section);
        this.answer = add(section, "p", "answer");
        this.log = add(section, "ol");
        this.log.setAttribute("role", "log");
        this.log.setAttribute("aria-label", `What passed: ${section.querySelector("h2").textContent}`);
        this.log.tabIndex = 0;
    }

    start(startedAt, onBytes) {
        this.startedAt = startedAt;
        this.onBytes = onBytes;
        Object.assign(this, { isOpen: false, isOver: false, isStalled: false, isShut: false, isRight: false });
        Object.assign(this, { ended: { up: false, down: false }, bytes: { up: 0, down: 0 }, read: 0, limit: 0, lost: 0, text: "" });
        this.group = null;
        this.log.replaceChildren();
        this.drawing.clear();
        let isCurrent = true;
        this.forget = () => (isCurrent = false);
        const guarded = (f) => (value) => isCurrent && f.call(this, value);
        this.connection = new this.Connection(guarded(this.#tell), guarded(this.#onText));
        this.show();
    }

    now() {
        return performance.now() - this.startedAt;
    }

    // ---- what happens ----

    #tell(event) {
        event.at = this.now();
        const isLast = event.kind === "close" || event.kind === "reset";
        if (event.kind === "window" || (isLast && this.isShut)) {
            this.isOver ||= isLast;
            if (event.kind === "window") this.limit = event.limit;
            this.show();
            return;
        }
        if (event.kind === "close") {
            event.isLoss = event.code !== 1000;
            event.text = `Close ${event.code}`;
        } else if (event.kind === "reset") {
            event.isLoss = event.code !== 1000;
            event.text = event.code === 1006 ? "lost" : `Close ${event.code}`;
        }
        this.drawing.add(event);
        this.#note(event);
        this.show();
        if (event.kind === "bytes" && event.lane === "down") this.onBytes(event.bytes);
    }

    #note(event) {
        switch (event.kind) {
            case "open":
                this.isOpen = true;
                this.say("open");
                break;
            case "bytes":
                this.bytes[event.lane] += event.bytes;
                this.#sayBytes(event.lane, event.bytes);
                break;
            case "end":
                this.ended[event.lane] = true;
                this.say(`${LANE_NAMES[event.lane]}: ${event.text}: complete`, "end");
                break;
            case "close":
            case "reset":
                this.isOver = true;
                this.isRight = event.code === 1000 && this.ended.up && this.ended.down && this.#isAnswerRight();
                this.say(event.code === 1006 ? "the connection is lost" : `Close ${event.code}`, event.isLoss ? "bad" : "end");
                break;
        }
    }

    #onText(text) {
        this.text += text;
        this.read = encoder.encode(this.text).length;
        this.show();
    }

    // The service's last line says what it got.
    #isAnswerRight() {
        const got = /(\d+) lines, (\d+) bytes, sha256/.exec(this.text);
        return this.bytes.up === 0 || (got !== null && Number(got[2]) === this.bytes.up);
    }

    // The other one got this much: so this one was answered, too, and has nobody to take it.
    lose(bytes) {
        if (!this.isShut || this.isAborted) return;
        this.lost += bytes;
        this.drawing.add({ kind: "lost", lane: "down", bytes, at: this.now() });
        this.show();
    }

    // ---- what is done ----

    send(bytes) {
        if (this.isOver || this.isShut || this.ended.up) return;
        this.connection.send(bytes);
    }

    end() {
        if (this.isOver || this.isShut || this.ended.up) return;
        if (this.isPlain) this.#shut("close()", "close(): the only way to say “that was all”");
        this.connection.end();
    }

    stall(isStalled) {
        if (this.isOver || this.isShut) return;
        if (this.isPlain) {
            if (isStalled) this.say("a page cannot stop a WebSocket: all that comes is kept in memory", "bad");
            return;
        }
        this.isStalled = isStalled;
        this.drawing.add({ kind: isStalled ? "stall" : "go", at: this.now() });
        this.say(isStalled ? "page stops reading" : "page reads on");
        this.connection.stall(isStalled);
        this.show();
    }

    abort() {
        if (this.isOver) return;
        this.isAborted = true;
        if (this.isPlain) this.#shut("close(4000)", "close(4000)");
        else this.say("page aborts: the service sees a reset, and no end", "bad");
        this.connection.abort();
        this.show();
    }

    #shut(mark, text) {
        this.isShut = true;
        this.drawing.add({ kind: "shut", isLoss: true, text: mark, at: this.now() });
        this.say(text, "bad");
    }

    // ---- what is shown ----

    say(text, mood) {
        this.group = null;
        this.#line(text, mood);
    }

    #line(text, mood) {
        const line = add(this.log, "li", mood, `${(this.now() / 1000).toFixed(1)} s  ${text}`);
        this.log.scrollTop = this.log.scrollHeight;
        return line;
    }

    // Pieces that come one after the other share a line.
    #sayBytes(lane, bytes) {
        if (this.group?.lane !== lane) this.group = { lane, bytes: 0, line: this.#line("") };
        this.group.bytes += bytes;
        this.group.line.textContent = this.group.line.textContent.replace(/ s .*/, "") + ` s  ${LANE_NAMES[lane]}: ${this.group.bytes} bytes`;
    }

    show() {
        const [text, mood] = this.isPlain ? this.#plainVerdict() : this.#verdict();
        this.verdict.textContent = text;
        this.verdict.className = `verdict ${mood ?? ""}`;
        const label = document.createElement("span");
        label.textContent = "Answer: ";
        const nothing = this.isPlain && this.isShut ? "nothing" : "";
        this.answer.replaceChildren(label, this.text.replace(/sha256 (.{8}).*/, "sha256 $1…").trim().replaceAll("\n", " ") || nothing);
    }

    #verdict() {
        if (this.isOver && this.isRight) return [`Both directions complete. All ${this.bytes.down} bytes of the answer arrived, count checked.`, "good"];
        if (this.isOver) return ["Broken, and both sides know: the service saw a reset, not an end.", "bad"];
        if (!this.isOpen) return ["Connecting …"];
        if (this.isStalled) return [this.#stallVerdict()];
        if (this.ended.up) return ["My direction has ended. The other one goes on."];
        return ["Open. The service waits for the end of the words."];
    }

    #stallVerdict() {
        const ahead = this.bytes.down - this.read;
        const allowed = this.limit - this.read;
        if (ahead < allowed) return `Not reading. ${ahead} of the ${allowed} bytes that may come ahead are here.`;
        return `Not reading. ${ahead} of ${allowed} bytes came ahead, and not one more: the service is held.`;
    }

    #plainVerdict() {
        if (this.isAborted) return ["Broken: close(4000), which this proxy makes a reset."];
        if (this.isShut) return [`It could only close both. The answer is lost: ${this.bytes.down} of ${this.bytes.down + this.lost} bytes arrived.`, "bad"];
        if (this.isOver) return ["Lost."];
        if (!this.isOpen) return ["Connecting …"];
        return ["Open. The service waits for the end of the words."];
    }
}

const half = new Panel($("with"), HalfClosing);
const plain = new Panel($("without"), Plain);
const both = [half, plain];

// ---- the story, and the buttons ----

let timers = [];
let nextWord = 0;
let isByItself = false;

function takeOver() {
    timers.forEach(clearTimeout);
    timers = [];
    isByItself = false;
}

function begin() {
    takeOver();
    for (const panel of both) {
        if (panel.connection && !panel.isOver) panel.connection.abort();
        panel.forget?.();
        panel.isAborted = false;
    }
    const now = performance.now();
    half.start(now, (bytes) => plain.lose(bytes));
    plain.start(now, () => {});
    nextWord = 0;
    requestAnimationFrame(frame);
}

function send() {
    const words = Array.from({ length: WORDS_A_SEND }, () => WORDS[nextWord++ % WORDS.length]);
    for (const panel of both) panel.send(encoder.encode(words.join("\n") + "\n"));
}

function end() {
    for (const panel of both) panel.end();
}

function tellStory() {
    begin();
    isByItself = true;
    const step = (at, f) => timers.push(setTimeout(f, at));
    step(500, send);
    step(1000, send);
    step(1500, send);
    step(2300, () => {
        end();
        isByItself = false;
    });
}

function byHand(f) {
    return () => {
        takeOver();
        f();
        update();
    };
}

$("send").onclick = byHand(() => {
    if (half.isOver || half.ended.up) begin();
    send();
});
$("end").onclick = byHand(end);
$("stall").onclick = byHand(() => {
    const isStalled = !half.isStalled;
    for (const panel of both) panel.stall(isStalled);
});
$("abort").onclick = byHand(() => both.forEach((panel) => panel.abort()));
$("again").onclick = () => {
    tellStory();
    update();
};
$("controls").onsubmit = (event) => event.preventDefault();

// ---- keeping it on the screen ----

function setText(e, text) {
    if (e.textContent !== text) e.textContent = text;
}

// aria-disabled and not disabled: the focus stays where it is.
function allow(id, is) {
    $(id).disabled = !is && document.activeElement !== $(id);
    $(id).setAttribute("aria-disabled", String(!is));
}

function update() {
    allow("end", !half.isOver && !half.ended.up);
    allow("stall", !half.isOver);
    allow("abort", !half.isOver);
    $("stall").setAttribute("aria-pressed", String(half.isStalled && !half.isOver));
    $("again").classList.toggle("next", half.isOver);
    if (isByItself) setText($("hint"), "Runs by itself once. Press a button to take over.");
    else if (half.isOver) setText($("hint"), "Now you: send words, stop reading, end; then read on.");
    else if (half.isStalled) setText($("hint"), "The page does not read. Press the same button to read on.");
    else if (half.ended.up) setText($("hint"), "Watch the two lower lanes.");
    else setText($("hint"), "Yours: both connections do what you press.");
}

let drawnAt = 0;

function frame(time) {
    if (time - drawnAt > 30) {
        drawnAt = time;
        for (const panel of both) panel.drawing.draw(panel.now());
        update();
    }
    if (half.isOver && plain.isOver) {
        for (const panel of both) panel.drawing.draw(panel.now());
        update();
    } else requestAnimationFrame(frame);
}

tellStory();
