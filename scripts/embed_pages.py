"""Writes the demo's pages as C (proxy/demo/pages.h) to standard output.

usage: embed_pages.py FILE...
Each is served under its own name; a .html file without that ending, and demo.html at "/".
"""

from __future__ import annotations

import sys
from pathlib import Path

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
A_LINE = 24


def path_of(file: Path) -> str:
    if file.name == "demo.html":
        return "/"
    return "/" + (file.stem if file.suffix == ".html" else file.name)


def main() -> None:
    files = [Path(name) for name in sys.argv[1:]]
    print('#include "demo/pages.h"\n')
    for number, file in enumerate(files):
        content = file.read_bytes()
        print(f"static const uint8_t file{number}[] = {{ /* {file.name} */")
        for start in range(0, len(content), A_LINE):
            print("".join(f"{byte}," for byte in content[start : start + A_LINE]))
        print("};\n")
    print("static const struct page items[] = {")
    for number, file in enumerate(files):
        print(f'{{"{path_of(file)}", "{TYPES[file.suffix]}", file{number}, sizeof(file{number})}},')
    print("};\n\nconst struct page_set demo_pages = {items, sizeof(items) / sizeof(items[0])};")


if __name__ == "__main__":
    main()
