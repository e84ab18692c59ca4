#!/usr/bin/env python3
"""Draws Grafana dashboards as one HTML page, without Grafana: the same JSON, the same queries.

  tools/dashboard_preview.py --prometheus http://127.0.0.1:9090 --out preview.html \
      [--report report.json] [--start S --end S] [--step S] [DASHBOARD.json ...]

Each variable is asked for as Grafana does, each query of each panel is run (panels over time as a range,
all others as they are at --end), and each panel is drawn as an inline SVG or a table. The report lists
every query with the number of finite samples in its answer: the tests demand at least one of each.
Exit code 1 when a query is refused. Standard library only.
"""

import argparse
import html
import json
import math
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "dashboards"
COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#222255"]
COLUMN, ROW, GAP = 50, 30, 8  # pixels of Grafana's grid


# ---- asking --------------------------------------------------------------------------------------

class Prometheus:
    def __init__(self, url, start, end, step):
        self.url, self.start, self.end, self.step = url.rstrip("/"), start, end, step

    def get(self, path, **parameters):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{url}: {error.read().decode()}") from error

    def values(self, definition):
        """label_values(selector, label), of the time shown."""
        selector, label = re.fullmatch(r"label_values\((.*), *(\w+)\)", definition).groups()
        return self.get(f"label/{label}/values", **{"match[]": selector},
                        start=self.start, end=self.end)

    def ask(self, expr, is_range):
        """[(labels, [(time, value)])]"""
        if is_range:
            data = self.get("query_range", query=expr, start=self.start, end=self.end,
                            step=self.step)
            return [(s["metric"], [(t, float(v)) for t, v in s["values"]]) for s in data["result"]]
        data = self.get("query", query=expr, time=self.end)
        return [(s["metric"], [(s["value"][0], float(s["value"][1]))]) for s in data["result"]]


def choices(dashboard, prometheus, report):
    """What each variable stands for in a query; of one that takes one value, the first."""
    chosen = {"__rate_interval": f"{max(5, 4 * prometheus.step):g}s",
              "__range": f"{max(1, round(prometheus.end - prometheus.start))}s"}
    for variable in dashboard["templating"]["list"]:
        values = prometheus.values(substitute(variable["definition"], chosen))
        report.append({"dashboard": dashboard["uid"], "panel": "variable " + variable["name"],
                       "expr": variable["definition"], "samples": len(values)})
        several = variable["multi"]
        chosen[variable["name"]] = "|".join(map(re.escape, values)) if several else (
            values[0] if values else "")
    return chosen


def substitute(text, chosen):
    for name in sorted(chosen, key=len, reverse=True):
        # Within a PromQL string, so backslashes are written twice.
        text = text.replace("$" + name, chosen[name].replace("\\", "\\\\"))
    return text


def legend(form, labels):
    if not form:
        return ", ".join(f"{k}={v}" for k, v in sorted(labels.items()) if k != "__name__")
    return re.sub(r"\{\{ *(\w+) *\}\}", lambda m: labels.get(m.group(1), ""), form)


# ---- drawing -------------------------------------------------------------------------------------

def shown(value, unit):
    """A number with its unit, in three digits."""
    if not math.isfinite(value):
        return "–"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "bytes":
        for name in ("B", "KiB", "MiB", "GiB", "TiB"):
            if abs(value) < 1024 or name == "TiB":
                return f"{value:.3g} {name}" if name != "B" else f"{value:.0f} B"
            value /= 1024
    if unit == "s":
        if value == 0:
            return "0 s"
        if abs(value) < 1e-3:
            return f"{1e6 * value:.3g} µs"
        if abs(value) < 1:
            return f"{1e3 * value:.3g} ms"
        if abs(value) < 120:
            return f"{value:.3g} s"
        return f"{value / 60:.3g} min" if abs(value) < 7200 else f"{value / 3600:.3g} h"
    for name, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if unit == "short" and abs(value) >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.4g}"


def ticks(low, high, count=4):
    """Round numbers from low to high."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    for factor in (1, 2, 5, 10):
        if (high - low) / (step * factor) <= count + 0.5:
            step *= factor
            break
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def unit_ticks(low, high, unit):
    """Ticks that are round in the unit in which they are shown."""
    size = 1.0
    while unit == "bytes" and high / size >= 1024:
        size *= 1024
    return [size * tick for tick in ticks(low / size, high / size)]


class Plot:
    """Axes within a panel of the given size. `x` and `y` map to pixels."""

    LEFT, RIGHT, TOP, BOTTOM = 62, 10, 8, 22

    def __init__(self, width, height, n_legend_lines):
        self.width, self.height = width, height
        self.right = width - self.RIGHT
        self.bottom = height - self.BOTTOM - 16 * n_legend_lines
        self.out = []

    def scale(self, x_range, y_range, x_log=False, y_log=False):
        def linear(low, high, a, b):
            return lambda v: a + (v - low) / (high - low) * (b - a)

        def maybe_log(log, limits, a, b):
            if not log:
                return linear(*limits, a, b)
            inner = linear(math.log(limits[0]), math.log(limits[1]), a, b)
            return lambda v: inner(math.log(v))
        self.x = maybe_log(x_log, x_range, self.LEFT, self.right)
        self.y = maybe_log(y_log, y_range, self.bottom, self.TOP)

    def grid(self, x_ticks, y_ticks):
        for x, text in x_ticks:
            self.out.append(f'<line class="grid" x1="{self.x(x):.1f}" x2="{self.x(x):.1f}" '
                            f'y1="{self.TOP}" y2="{self.bottom}"/>'
                            f'<text x="{self.x(x):.1f}" y="{self.bottom + 15}" '
                            f'text-anchor="middle">{html.escape(text)}</text>')
        for y, text in y_ticks:
            self.out.append(f'<line class="grid" x1="{self.LEFT}" x2="{self.right}" '
                            f'y1="{self.y(y):.1f}" y2="{self.y(y):.1f}"/>'
                            f'<text x="{self.LEFT - 6}" y="{self.y(y) + 4:.1f}" '
                            f'text-anchor="end">{html.escape(text)}</text>')

    def curve(self, points, colour, dots=False, base=None):
        points = [(self.x(x), self.y(y)) for x, y in points]
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        if base is not None:
            under = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in reversed(base))
            self.out.append(f'<polygon points="{text} {under}" fill="{colour}" '
                            'fill-opacity="0.25"/>')
        self.out.append(f'<polyline points="{text}" fill="none" stroke="{colour}" '
                        'stroke-width="1.5"/>')
        if dots or len(points) == 1:
            self.out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
                         for x, y in points]

    def legend(self, lines_of_names):
        y = self.bottom + 34
        for line in lines_of_names:
            x = 10
            for name, colour in line:
                self.out.append(f'<rect x="{x}" y="{y - 6}" width="12" height="3" '
                                f'fill="{colour}"/>'
                                f'<text x="{x + 16}" y="{y}">{html.escape(name)}</text>')
                x += 30 + 6.3 * len(name)
            y += 16

    def svg(self):
        return (f'<svg width="{self.width}" height="{self.height}" '
                f'viewBox="0 0 {self.width} {self.height}">{"".join(self.out)}</svg>')


def legend_lines(names, width, lines_max=4):
    """Names with their colours, broken into lines; what does not fit is counted."""
    lines, x = [[]], 10
    for i, name in enumerate(names):
        need = 30 + 6.3 * len(name)
        if x + need > width and lines[-1]:
            if len(lines) == lines_max:
                lines[-1].append((f"+{len(names) - i} more", "#ffffff"))
                break
            lines.append([])
            x = 10
        lines[-1].append((name, COLOURS[i % len(COLOURS)]))
        x += need
    return lines


def finite(points):
    return [(t, v) for t, v in points if math.isfinite(v)]


def without_gaps(points, gap):
    """The points in parts that follow each other closely."""
    parts = [points[:1]]
    for before, point in zip(points, points[1:]):
        if point[0] - before[0] > gap:
            parts.append([])
        parts[-1].append(point)
    return parts


def draw_timeseries(panel, answers, width, height, prometheus):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    series = sorted((name, finite(points)) for name, _, points in answers)
    series = [(name, points) for name, points in series if points]
    if stacked:  # nothing is 0
        times = sorted({t for _, points in series for t, _ in points})
        total = dict.fromkeys(times, 0.0)
        layers = []
        for name, points in series:
            base = sorted(total.items())
            for t, v in points:
                total[t] += v
            layers.append((name, sorted(total.items()), base))
    else:
        layers = [(name, points, None) for name, points in series]
    values = [v for _, points, _ in layers for _, v in points] or [0.0]
    low = panel["fieldConfig"]["defaults"].get("min", min(values))
    high = max(max(values), low)
    if high == low:
        high = low + (abs(low) * 0.1 or 1.0)
    high += 0.05 * (high - low)
    names = legend_lines([name for name, _, _ in layers], width)
    plot = Plot(width, height, len(names))
    plot.scale((prometheus.start, prometheus.end), (low, high))
    span = prometheus.end - prometheus.start
    plot.grid([(prometheus.start + s, f"{s:g} s" if span < 600 else f"{s / 60:g} min")
               for s in ticks(0, span, 5)],
              [(v, shown(v, unit)) for v in unit_ticks(low, high, unit)])
    for i, (_, points, base) in enumerate(layers):
        parts = [points] if base is not None else without_gaps(points, 1.5 * prometheus.step)
        for part in parts:
            plot.curve(part, COLOURS[i % len(COLOURS)], base=base)
    plot.legend(names)
    return plot.svg()


def matrix_of(panel, answers):
    """(row label, column label, {column: {row: value}}, rows) of a panel that groups to a matrix."""
    how = next(t["options"] for t in panel["transformations"] if t["id"] == "groupingToMatrix")
    row, column = how["rowField"], how["columnField"]
    columns = {}
    for _, labels, points in answers:
        columns.setdefault(labels[column], {})[float(labels[row])] = points[-1][1]
    rows = sorted({r for values in columns.values() for r in values})
    return row, column, columns, rows


def draw_trend(panel, answers, width, height, _):
    row, _, columns, rows = matrix_of(panel, answers)
    values = [v for column in columns.values() for v in column.values()]
    low, high = min(values) / 1.15, max(values) * 1.15
    names = legend_lines(sorted(columns), width)
    plot = Plot(width, height, len(names))
    plot.scale((rows[0] / 1.1, rows[-1] * 1.1), (low, high), x_log=True, y_log=True)
    decades = [m * 10 ** e for e in range(-3, 7) for m in (1, 1.5, 2, 3, 5, 7)]
    y_ticks = [v for v in decades if low <= v <= high] or [low * 1.15, high / 1.15]
    plot.grid([(r, f"{r:g}") for r in rows], [(v, shown(v, "none")) for v in y_ticks])
    for i, name in enumerate(sorted(columns)):
        plot.curve(sorted(columns[name].items()), COLOURS[i % len(COLOURS)], dots=True)
    plot.legend(names)
    plot.out.append(f'<text x="{plot.right}" y="{plot.bottom - 6}" '
                    f'text-anchor="end">{html.escape(row)}</text>')
    return plot.svg()


def table(head, rows):
    cells = "".join(f"<th>{html.escape(c)}</th>" for c in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in r) + "</tr>"
                   for r in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def draw_table(panel, answers, *_):
    if any(t["id"] == "groupingToMatrix" for t in panel["transformations"]):
        row, column, columns, rows = matrix_of(panel, answers)
        names = sorted(columns)
        return table([f"{row}"] + names,
                     [[f"{r:g}"] + [shown(columns[n].get(r, math.nan), "none") for n in names]
                      for r in rows])
    keep = next(t["options"]["include"]["names"] for t in panel["transformations"]
                if t["id"] == "filterFieldsByName")
    return table(keep, sorted([labels.get(k, "") for k in keep] for _, labels, _ in answers))


def draw_stat(panel, answers, *_):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    several = panel["options"]["textMode"] == "value_and_name"
    return '<div class="stats">' + "".join(
        f'<div><b>{html.escape(shown(points[-1][1], unit))}</b>'
        f'{"<i>" + html.escape(name) + "</i>" if several else ""}</div>'
        for name, _, points in sorted(answers, key=lambda a: a[0])) + "</div>"


def draw_bargauge(panel, answers, width, height, _):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    answers = sorted(answers, key=lambda a: (-a[2][-1][1], a[0]))
    high = max([points[-1][1] for _, _, points in answers] + [0]) or 1
    line = min(22, (height - 10) / max(1, len(answers)))
    out = []
    for i, (name, _, points) in enumerate(answers):
        y, value = 6 + i * line, points[-1][1]
        out.append(f'<text x="118" y="{y + line * 0.65:.1f}" text-anchor="end">'
                   f'{html.escape(name)}</text><rect x="124" y="{y + 2:.1f}" '
                   f'width="{max(1, (width - 190) * value / high):.1f}" height="{line - 5:.1f}" '
                   f'fill="{COLOURS[0]}"/><text x="{width - 8}" y="{y + line * 0.65:.1f}" '
                   f'text-anchor="end">{html.escape(shown(value, unit))}</text>')
    return f'<svg width="{width}" height="{height}">{"".join(out)}</svg>'


DRAW = {"timeseries": draw_timeseries, "trend": draw_trend, "table": draw_table,
        "stat": draw_stat, "bargauge": draw_bargauge}

STYLE = """
body { font: 13px sans-serif; background: #f4f5f7; color: #222; margin: 16px; width: 1200px }
h1 { font-size: 20px } h2 { font-size: 14px; margin: 0; position: absolute }
.dashboard { position: relative }
.panel { position: absolute; background: #fff; border: 1px solid #d8dade; border-radius: 3px;
         overflow: hidden; box-sizing: border-box; padding: 6px }
.panel h3 { font-size: 13px; margin: 0 0 4px } .row { position: absolute; font-weight: bold }
.empty { color: #b00 } .grid { stroke: #e6e8eb }
svg text { font: 11px sans-serif; fill: #555 }
table { border-collapse: collapse; font-size: 12px }
td, th { border-bottom: 1px solid #e6e8eb; padding: 2px 8px; text-align: right; font-weight: normal }
th { color: #777; vertical-align: bottom } td:first-child, th:first-child { text-align: left }
.stats { display: flex; justify-content: space-around; align-items: center; height: 74px }
.stats b { font-size: 26px; font-weight: 600; display: block }
.stats div { text-align: center } .stats i { color: #777; font-style: normal }
"""


# ---- the page ------------------------------------------------------------------------------------

def draw_panel(dashboard, panel, prometheus, chosen, report):
    grid = panel["gridPos"]
    left, top = grid["x"] * COLUMN, grid["y"] * ROW
    if panel["type"] == "row":
        return (f'<div class="row" style="left:{left}px;top:{top + 8}px">'
                f'{html.escape(panel["title"])}</div>')
    answers, samples = [], 0
    for target in panel["targets"]:
        result = prometheus.ask(substitute(target["expr"], chosen), target["range"])
        n_finite = sum(len(finite(points)) for _, points in result)
        report.append({"dashboard": dashboard["uid"], "panel": panel["title"],
                       "expr": target["expr"], "samples": n_finite})
        samples += n_finite
        answers += [(legend(target["legendFormat"], labels), labels, points)
                    for labels, points in result]
    width, height = grid["w"] * COLUMN - GAP, grid["h"] * ROW - GAP
    inner = ('<p class="empty">no data</p>' if samples == 0 else
             DRAW[panel["type"]](panel, answers, width - 14, height - 36, prometheus))
    return (f'<section class="panel" data-panel="{html.escape(panel["title"])}" '
            f'data-samples="{samples}" title="{html.escape(panel["description"])}" '
            f'style="left:{left}px;top:{top}px;width:{width}px;height:{height}px">'
            f'<h3>{html.escape(panel["title"])}</h3>{inner}</section>')


def page_of(dashboards, prometheus, report):
    out = [f'<!doctype html><html><head><meta charset="utf-8"><title>longrun dashboards</title>'
           f"<style>{STYLE}</style></head><body>"]
    for dashboard in dashboards:
        chosen = choices(dashboard, prometheus, report)
        shown_choices = ", ".join(v["label"] + ": " + chosen[v["name"]].replace("\\", "")
                                  for v in dashboard["templating"]["list"])
        bottom = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard["panels"])
        out.append(f'<h1>{html.escape(dashboard["title"])}</h1>'
                   f"<p>{html.escape(shown_choices)}</p>"
                   f'<div class="dashboard" data-dashboard="{dashboard["uid"]}" '
                   f'style="height:{bottom * ROW}px">')
        out += [draw_panel(dashboard, p, prometheus, chosen, report) for p in dashboard["panels"]]
        out.append("</div>")
    out.append("</body></html>")
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--prometheus", required=True, help="address of a Prometheus")
    parser.add_argument("--out", required=True, help="the HTML page to write")
    parser.add_argument("--report", help="JSON: every query and how much it answered")
    parser.add_argument("--start", type=float, help="seconds since 1970 (default: an hour ago)")
    parser.add_argument("--end", type=float, help="seconds since 1970 (default: now)")
    parser.add_argument("--step", type=float, default=15, help="seconds between two points")
    parser.add_argument("dashboards", nargs="*", help="default: all of deploy/grafana/dashboards")
    arguments = parser.parse_args()
    end = arguments.end or time.time()
    prometheus = Prometheus(arguments.prometheus, arguments.start or end - 3600, end,
                            arguments.step)
    paths = arguments.dashboards or sorted(FOLDER.glob("*.json"))
    dashboards = [json.loads(pathlib.Path(p).read_text(encoding="utf-8")) for p in paths]
    report = []
    page = page_of(dashboards, prometheus, report)
    pathlib.Path(arguments.out).write_text(page, encoding="utf-8")
    if arguments.report:
        pathlib.Path(arguments.report).write_text(json.dumps(report, indent=1), encoding="utf-8")
    empty = [r for r in report if r["samples"] == 0]
    for r in empty:
        print(f'no data: {r["dashboard"]}: {r["panel"]}: {r["expr"]}', file=sys.stderr)
    print(f"{len(report)} queries, {len(empty)} without data: {arguments.out}")


if __name__ == "__main__":
    main()
