"""Line charts of a study as SVG: panels side by side, one line per rule, x in equal steps."""
from xml.sax.saxutils import escape

COLOURS = ["#4d4d4d", "#0072b2", "#56b4e9", "#d55e00", "#009e73", "#cc79a7", "#e69f00"]
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 215, 190, 46, 34, 58, 14


def ticks(low, high):
    """At most six round numbers from low to high."""
    span = high - low
    step = next(s * 10**e for e in range(-3, 6) for s in (1, 2, 5) if span / (s * 10**e) <= 6)
    first = int(low / step) - 1
    return [round(i * step, 9) for i in range(first, first + 12) if low - 1e-9 <= i * step <= high + 1e-9]


def text(x, y, words, anchor="middle", size=11):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(str(words))}</text>'


def lines_svg(title, x_label, y_label, xs, panels):
    """`panels`: {name: {line: [y of every x, None where there is none]}}; every panel has the same lines and one y axis for all. RETURNS: the SVG."""
    values = [y for lines in panels.values() for ys in lines.values() for y in ys if y is not None]
    low, high = min(values), max(values)
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    names = list(next(iter(panels.values())))
    width = LEFT + len(panels) * (WIDTH + GAP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{TOP + HEIGHT + BOTTOM}" font-family="sans-serif">', '<rect width="100%" height="100%" fill="white"/>',
             text(LEFT, 14, title, "start", 13), f'<g transform="rotate(-90)">{text(-(TOP + HEIGHT / 2), 12, y_label)}</g>']

    def height_of(y):
        return TOP + HEIGHT - (y - low) / (high - low) * HEIGHT

    for number, (panel, lines) in enumerate(panels.items()):
        start = LEFT + number * (WIDTH + GAP)
        at = [start + WIDTH * (i + 0.5) / len(xs) for i in range(len(xs))]
        parts += [f'<rect x="{start}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#bbb"/>', text(start + WIDTH / 2, TOP - 5, panel)]
        for y in ticks(low, high):
            parts.append(f'<line x1="{start}" x2="{start + WIDTH}" y1="{height_of(y):.1f}" y2="{height_of(y):.1f}" stroke="#eee"/>')
            if number == 0:
                parts.append(text(start - 4, height_of(y) + 4, f"{y:g}", "end"))
        parts += [text(x, TOP + HEIGHT + 14, label) for x, label in zip(at, xs)]
        for colour, name in zip(COLOURS, names):
            points = [(x, height_of(y)) for x, y in zip(at, lines[name]) if y is not None]
            parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points]
    parts.append(text(LEFT + len(panels) * (WIDTH + GAP) / 2, TOP + HEIGHT + 30, x_label))
    for number, (colour, name) in enumerate(zip(COLOURS, names)):
        x = LEFT + 105 * number
        parts += [f'<line x1="{x}" x2="{x + 16}" y1="{TOP + HEIGHT + 46}" y2="{TOP + HEIGHT + 46}" stroke="{colour}" stroke-width="3"/>', text(x + 20, TOP + HEIGHT + 50, name, "start")]
    return "\n".join(parts + ["</svg>"]) + "\n"
