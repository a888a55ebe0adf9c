// Draws what happened on the two lanes of a connection over time.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 4, RIGHT = 14;
const LANE = { up: 66, down: 126 };
const TOP = 26, BOTTOM = 146;
const SPAN_MS = 6000; // of the whole width, until it takes longer

function element(name, attributes, text) {
    const e = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
    if (text !== undefined) e.textContent = text;
    return e;
}

export class Drawing {
    #svg = element("svg", { class: "lanes", "aria-hidden": "true" }); // the log says the same
    #events = [];
    #width = 320;

    constructor(parent) {
        parent.append(this.#svg);
        new ResizeObserver(() => {
            this.#width = this.#svg.clientWidth || this.#width;
            this.draw(this.#now);
        }).observe(this.#svg);
    }

    #now = 0;

    clear() {
        this.#events = [];
        this.draw(0);
    }

    add(event) {
        this.#events.push(event);
    }

    draw(now) {
        this.#now = now;
        const scale = (this.#width - LEFT - RIGHT) / Math.max(SPAN_MS, now * 1.05);
        const x = (at) => LEFT + at * scale;
        const parts = [
            element("text", { x: LEFT, y: LANE.up - 22 }, "page → service"),
            element("text", { x: LEFT, y: LANE.down - 22 }, "service → page"),
        ];
        for (const lane of ["up", "down"]) parts.push(...this.#lane(lane, x, now));
        for (const event of this.#events) parts.push(...this.#mark(event, x));
        this.#svg.replaceChildren(...parts);
    }

    // The lane's line: firm while it is open.
    #lane(lane, x, now) {
        const y = LANE[lane];
        const opened = this.#events.find((e) => e.kind === "open");
        const over = this.#events.find((e) => (e.kind === "end" && e.lane === lane) || e.kind === "shut" || e.kind === "close" || e.kind === "reset");
        const end = Math.min(over?.at ?? now, now);
        const parts = [element("line", { class: "over", x1: x(0), x2: this.#width - RIGHT, y1: y, y2: y })];
        if (opened) parts.push(element("line", { class: "lane", x1: x(opened.at), x2: x(end), y1: y, y2: y }));
        let since = null;
        for (const event of lane === "down" ? this.#events : []) {
            if (event.kind === "stall") since = event.at;
            if ((event.kind === "go" || event.kind === "close" || event.kind === "reset") && since !== null) {
                parts.push(this.#stalled(x(since), x(event.at)));
                since = null;
            }
        }
        if (since !== null) parts.push(this.#stalled(x(since), x(now)));
        return parts;
    }

    #stalled(from, to) {
        return element("rect", { class: "stalled", x: from, width: Math.max(0, to - from), y: LANE.down - 14, height: 28 });
    }

    #mark(event, x) {
        const at = x(event.at);
        const y = LANE[event.lane];
        const anchor = at > this.#width - 90 ? { x: at - 5, "text-anchor": "end" } : { x: at + 5 };
        switch (event.kind) {
            case "bytes":
            case "lost": {
                const height = Math.min(30, 8 + 4 * Math.log2(1 + event.bytes / 4));
                return [element("rect", { class: event.kind === "lost" ? "lost" : "chunk", x: at - 3, width: 6, y: y - height / 2, height, rx: 2 })];
            }
            case "end":
                return [
                    element("rect", { class: "fin", x: at - 2, width: 4, y: y - 18, height: 36 }),
                    element("text", { class: "fin", ...anchor, y: y - 8 }, "FIN"),
                ];
            case "shut":
            case "close":
            case "reset": {
                const style = event.kind === "reset" || event.isLoss ? "reset" : "close";
                return [
                    element("line", { class: style, x1: at, x2: at, y1: TOP - 10, y2: BOTTOM }),
                    ...(event.text ? [element("text", { class: style, ...anchor, y: TOP - 10 }, event.text)] : []),
                ];
            }
            default:
                return [];
        }
    }
}
