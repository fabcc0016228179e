#!/usr/bin/env python3
"""Draws what a terminal shows: tmux capture-pane -p -e | docs/images/terminal.py TITLE > picture.svg"""

import re
import sys
from html import escape

PLAIN, STRONG, DIM = "#d5d9e3", "#ffffff", "#8a93a6"
COLOURS = {31: "#ff7b86", 32: "#7ee2a0", 33: "#f0c674", 36: "#7cc7e8"}
WIDTH, HEIGHT, LEFT, TOP = 7.83, 19, 18, 30


def spans(line):
    """Pieces of text with their colour and weight."""
    colour, bold, dim = None, False, False
    for codes, text in re.findall(r"(?:\x1b\[([\d;]*)m)?([^\x1b]*)", line):
        for code in [int(code or 0) for code in codes.split(";")] if codes else []:
            if code == 0:
                colour, bold, dim = None, False, False
            elif code == 1:
                bold = True
            elif code == 2:
                dim = True
            elif code == 22:
                bold = dim = False
            elif code == 39:
                colour = None
            elif code in COLOURS:
                colour = COLOURS[code]
        if text:
            yield text, colour or (STRONG if bold else DIM if dim else PLAIN), bold


def main(title):
    lines = [line.rstrip("\n") for line in sys.stdin]
    while lines and not re.sub(r"\x1b\[[\d;]*m", "", lines[-1]).strip():
        lines.pop()
    columns = max(len(re.sub(r"\x1b\[[\d;]*m", "", line).rstrip()) for line in lines)
    width, height = round(columns * WIDTH + 2 * LEFT), TOP + HEIGHT * len(lines)
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="13">'
    )
    print(f"<title>{escape(title)}</title>")
    print(f'<rect width="{width}" height="{height}" rx="8" fill="#12151c"/>')
    for number, line in enumerate(lines):
        column = 0
        for text, colour, bold in spans(line):
            if text.strip():
                # Each piece has its place and length, so that columns hold with any font.
                lead = len(text) - len(text.lstrip())
                shown = text.strip()
                weight = ' font-weight="bold"' if bold else ""
                print(
                    f'<text x="{LEFT + (column + lead) * WIDTH:.1f}" y="{TOP + HEIGHT * number}" fill="{colour}"{weight} '
                    f'textLength="{len(shown) * WIDTH:.1f}" lengthAdjust="spacingAndGlyphs" xml:space="preserve">'
                    f"{escape(shown)}</text>"
                )
            column += len(text)
    print("</svg>")


if __name__ == "__main__":
    main(sys.argv[1])
