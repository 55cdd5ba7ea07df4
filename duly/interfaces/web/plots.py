"""Plots, drawn here as SVG: they show without a script, and print. A table beside each says the same."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from markupsafe import Markup, escape

from duly.interfaces.web.language import Writer
from duly.services.portal import Curves
from duly.services.portfolio import Bucket, Moment

WIDTH: Final = 480
HEIGHT: Final = 280
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 14, 32
_NICE: Final = (1, 2, 5)


def balance_plot(curves: Curves, write: Writer) -> Markup:
    """What fell due, what was paid and what is still owed, over the days of a loan."""
    days = max(1, curves.last_day - curves.first_day)
    every = (*curves.due, *curves.paid, *curves.owed)
    ticks = list(ticks_upto(max(amount for _, amount in every)))
    highest = ticks[-1]

    def x(day: int) -> float:
        share = (min(day, curves.last_day) - curves.first_day) / days
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(amount: int) -> float:
        return _height(amount, highest)

    parts = [*_begun(write.text("Owed, due and paid over time"), ticks, write)]
    marks = (curves.first_day, (curves.first_day + curves.last_day) // 2, curves.last_day)
    for day, anchor in zip(marks, ("start", "middle", "end"), strict=True):
        label = escape(write.month(day))
        parts.append(
            f'<text class="tick" x="{x(day):.1f}" y="{HEIGHT - 10}" text-anchor="{anchor}">{label}</text>'
        )
    if curves.first_day <= curves.today <= curves.last_day:
        at = x(curves.today)
        parts.append(f'<line class="today" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    for name, points in (
        ("due", curves.due),
        ("planned", curves.planned),
        ("owed", curves.owed),
        ("paid", curves.paid),
    ):
        if len(points) > 1:
            parts.append(f'<path class="line {name}" d="{_steps(points, x, y)}"/>')
    parts.append("</svg>")
    return Markup("".join(parts))


def buckets_plot(months: Sequence[Moment], write: Writer) -> Markup:
    """What was owed at the ends of months, and is now, by bucket: columns, what is current at the foot."""
    ticks = list(ticks_upto(max(each.total.owed for each in months)))
    highest = ticks[-1]
    parts = [*_begun(write.text("Owed by bucket over time"), ticks, write)]
    room = (WIDTH - LEFT - RIGHT) / max(len(months), 4)
    every = -(-len(months) // 4)
    for n, moment in enumerate(months):
        x, reached = LEFT + (n + 0.15) * room, 0
        for bucket in Bucket:
            owed = moment.buckets[bucket].owed
            if owed:
                top, foot = _height(reached + owed, highest), _height(reached, highest)
                parts.append(
                    f'<rect class="bucket b{bucket:d}" x="{x:.1f}" y="{top:.1f}" width="{room * 0.7:.1f}" '
                    f'height="{max(foot - top, 0.75):.1f}"/>'
                )
            reached += owed
        if (len(months) - 1 - n) % every == 0:
            label = escape(write.month(moment.day))
            parts.append(
                f'<text class="tick" x="{x + room * 0.35:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{label}'
                "</text>"
            )
    parts.append("</svg>")
    return Markup("".join(parts))


def _begun(title: str, ticks: Sequence[int], write: Writer) -> Iterator[str]:
    """The head of a plot, and its lines at round amounts."""
    yield f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="plot-title">'
    yield f'<title id="plot-title">{escape(title)}</title>'
    for tick in ticks:
        y = _height(tick, ticks[-1])
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        label = _short_amount(write, tick)
        yield f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'


def _height(amount: int, highest: int) -> float:
    return TOP + (1 - amount / highest) * (HEIGHT - TOP - BOTTOM)


def ticks_upto(highest: int) -> Iterator[int]:
    """Round amounts from zero to one that is not less than the highest, six steps at most."""
    step, power = 1, 1
    while True:
        for nice in _NICE:
            step = nice * power
            if highest <= 6 * step:
                yield from range(0, step * max(1, -(-highest // step)) + 1, step)
                return
        power *= 10


def _steps(points: Sequence[tuple[int, int]], x: Callable[[int], float], y: Callable[[int], float]) -> str:
    (day, amount), *rest = points
    path = [f"M{x(day):.1f} {y(amount):.1f}"]
    for day, amount in rest:
        path.append(f"H{x(day):.1f}V{y(amount):.1f}")
    return "".join(path)


def _short_amount(write: Writer, units: int) -> str:
    """An amount for an axis: without decimals that are zero."""
    text = write.number(units)
    whole, point, rest = text.partition(".")
    return str(escape(whole if not rest.strip("0") else whole + point + rest))
