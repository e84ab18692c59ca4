#!/usr/bin/env python3
"""Grafana dashboards, from the compact description below to JSON.

  tools/dashboards.py           writes deploy/grafana/dashboards/*.json
  tools/dashboards.py --check   exits 1 when one of them is not what this would write

A dashboard is a list of rows, a row a title and panels, a panel one call of a function below: its title,
its width of 24 columns, its unit, and its queries as (legend, PromQL) pairs. Metrics stand in
docs/metrics.md. Every query must have an answer on a CPU machine too, since a test runs them all against
a real Prometheus (tests/deploy/live_test.cc); so what only GPUs tell is not drawn here (NVIDIA's DCGM
exporter brings dashboards of its own).
"""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "longrun-prometheus"}
SCHEMA_VERSION = 39  # of Grafana 11
HEIGHT = {"stat": 4, "timeseries": 8, "trend": 12, "table": 12, "bargauge": 8}


# ---- panels --------------------------------------------------------------------------------------

def query(legend, expr, instant=False, table=False):
    return {"datasource": SOURCE, "expr": expr, "legendFormat": legend, "instant": instant,
            "range": not instant, "format": "table" if table else "time_series"}


def panel(kind, title, width, unit, queries, description="", custom=None, options=None,
          transformations=None, overrides=None, minimum=None):
    defaults = {"unit": unit, "custom": custom or {}}
    if minimum is not None:
        defaults["min"] = minimum
    for letter, target in zip("ABCDEFGH", queries):
        target["refId"] = letter
    return {"type": kind, "title": title, "description": description, "datasource": SOURCE,
            "gridPos": {"w": width, "h": HEIGHT[kind]}, "targets": queries,
            "fieldConfig": {"defaults": defaults, "overrides": overrides or []},
            "options": options or {}, "transformations": transformations or []}


def stat(title, width, unit, expr, description="", legend=""):
    """One number for each series, as it is now."""
    return panel("stat", title, width, unit, [query(legend, expr, instant=True)], description,
                 options={"reduceOptions": {"calcs": ["lastNotNull"], "values": False},
                          "colorMode": "none", "graphMode": "none", "textMode": "value_and_name"
                          if legend else "value"})


def lines(title, width, unit, *queries, description="", stack=False, minimum=0):
    """Curves over time."""
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 25 if stack else 0,
              "showPoints": "never", "spanNulls": False,
              "stacking": {"mode": "normal" if stack else "none", "group": "A"}}
    return panel("timeseries", title, width, unit, [query(l, e) for l, e in queries], description,
                 custom, {"legend": {"displayMode": "list", "placement": "bottom"},
                          "tooltip": {"mode": "multi", "sort": "desc"}}, minimum=minimum)


def bars(title, width, unit, legend, expr, description=""):
    """A bar for each series, as it is now."""
    return panel("bargauge", title, width, unit, [query(legend, expr, instant=True)], description,
                 options={"orientation": "horizontal", "displayMode": "basic",
                          "reduceOptions": {"calcs": ["lastNotNull"], "values": False}},
                 minimum=0)


def matrix(kind, title, width, unit, expr, row, column, description=""):
    """Series by two labels: a table with a column for each value of one (kind "table"), or a curve for
    each over the other as a number (kind "trend")."""
    corner = f"{row}\\{column}"
    transformations = [
        {"id": "groupingToMatrix",
         "options": {"rowField": row, "columnField": column, "valueField": "Value"}},
        {"id": "convertFieldType",
         "options": {"fields": {}, "conversions": [
             {"targetField": corner, "destinationType": "number"}]}},
        {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": corner}]}}]
    options, custom, overrides = {}, {}, []
    if kind == "trend":
        custom = {"drawStyle": "line", "lineWidth": 2, "showPoints": "always", "pointSize": 6,
                  "scaleDistribution": {"type": "log", "log": 10}}
        overrides = [{"matcher": {"id": "byName", "options": corner}, "properties": [
            {"id": "unit", "value": "none"},
            {"id": "custom.scaleDistribution", "value": {"type": "log", "log": 2}}]}]
        options = {"xField": corner, "legend": {"displayMode": "list", "placement": "bottom"},
                   "tooltip": {"mode": "multi", "sort": "none"}}
    return panel(kind, title, width, unit, [query("", expr, instant=True, table=True)], description,
                 custom, options, transformations, overrides)


def listing(title, width, expr, labels, description=""):
    """A row for each series, with these labels as its columns."""
    one = panel("table", title, width, "none", [query("", expr, instant=True, table=True)],
                description, transformations=[
                    {"id": "filterFieldsByName", "options": {"include": {"names": labels}}},
                    {"id": "organize", "options": {
                        "indexByName": {name: i for i, name in enumerate(labels)}}}])
    one["gridPos"]["h"] = HEIGHT["timeseries"]
    return one


def variable(name, label, expr, several=False):
    """A choice that a query gives: label_values(metric, label)."""
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE,
            "query": {"query": expr, "refId": name}, "definition": expr, "refresh": 2, "sort": 1,
            "multi": several, "includeAll": several,
            "current": {"text": "All", "value": "$__all"} if several else {}}


def quantiles(metric, by="", prefix="", where=""):
    """Median and 99th percentile of a histogram, over the dashboard's interval."""
    labels = f"{by}, le" if by else "le"
    series = f"{metric}_bucket{{{where}}}" if where else f"{metric}_bucket"
    return [(prefix + name,
             f"histogram_quantile({q}, sum by ({labels}) (rate({series}[$__rate_interval])))")
            for name, q in (("p50", 0.5), ("p99", 0.99))]


# ---- dashboards ----------------------------------------------------------------------------------

THIS = 'sweep="$sweep", dataset=~"$dataset", split="$split", evaluation="$evaluation"'
ON = 'instance=~"$worker"'
OPEN = 'state!~"SUCCEEDED|FAILED|CANCELLED|SKIPPED"'
RESULT = '__name__=~"longrun_result_ppl|longrun_result_pseudo_ppl"'
# Without the space before a stage that is not there.
CURVE = (f"label_replace(label_join({{{RESULT}, {THIS}}}, "
         '"model", " ", "method", "train_length", "dataset", "stage"), "model", "$1", "model", "(.*?) *")')

SWEEPS = {
    "file": "sweeps", "uid": "longrun-sweeps", "title": "longrun: sweeps",
    "variables": [
        variable("sweep", "Sweep", "label_values({" + RESULT + "}, sweep)"),
        variable("dataset", "Dataset", 'label_values({' + RESULT + ', sweep="$sweep"}, dataset)',
                 several=True),
        variable("split", "Split", 'label_values({' + RESULT + ', sweep="$sweep"}, split)'),
        variable("evaluation", "Evaluation",
                 'label_values({' + RESULT + ', sweep="$sweep"}, evaluation)')],
    "rows": [
        ("Now", [
            stat("Open tasks", 4, "none", "sum(longrun:tasks_open:sum)",
                 "Tasks that are not done, of all sweeps."),
            stat("Running", 4, "none", 'sum(longrun_tasks{state="RUNNING"})'),
            stat("Succeeded", 4, "none", 'sum(longrun_tasks{state="SUCCEEDED"})'),
            stat("Failed or skipped", 4, "none", 'sum(longrun_tasks{state=~"FAILED|SKIPPED"})'),
            stat("Slots busy", 4, "percentunit", "longrun:slots_busy:ratio"),
            stat("Tokens per second", 4, "short", "longrun:tokens_per_second:sum",
                 "Of all slots together, as trainers say.")]),
        ("Perplexity by context length", [
            matrix("trend", "Perplexity by context length", 14, "none", CURVE, "context_length",
                   "model", "Of the sweep chosen above, if its file has `export: prometheus` in its "
                   "metadata: method, train length, dataset, stage; pseudo-perplexity where the evaluation is "
                   "of an encoder. Both axes are logarithmic."),
            matrix("table", "The same as numbers", 10, "none", CURVE, "context_length", "model")]),
        ("Work", [
            lines("Tasks by state", 12, "none",
                  ("{{state}}", "sum by (state) (longrun_tasks) > 0"), stack=True,
                  description="A state without a task is left out."),
            lines("Training loss by slot", 12, "none",
                  ("{{instance}} slot {{slot}}", "longrun_worker_slot_loss_nats"),
                  description="Nats per token of what each slot trains now.", minimum=None),
            lines("Open tasks by sweep", 12, "none",
                  ("{{sweep}}", f"sum by (sweep) (longrun_sweep_tasks{{{OPEN}}}) > 0"), stack=True,
                  description="Of sweeps that have not ended. A task may belong to several sweeps."),
            bars("Share of tasks that have succeeded, by sweep", 12, "percentunit", "{{sweep}}",
                 'sum by (sweep) (longrun_sweep_tasks{state="SUCCEEDED"}) / sum by (sweep) (longrun_sweep_tasks)',
                 "Of sweeps that have not ended, or ended within the last ten minutes."),
            lines("Progress by slot", 12, "percentunit",
                  ("{{instance}} slot {{slot}}", "longrun_worker_slot_progress_ratio")),
            lines("Tokens per second by slot", 12, "short",
                  ("{{instance}} slot {{slot}}", "longrun_worker_slot_tokens_per_second"))]),
        ("Waiting and failing", [
            lines("Time in the queue", 8, "s",
                  *quantiles("longrun_task_queue_seconds", "kind", "{{kind}} "),
                  description="From READY to RUNNING."),
            lines("Ready and not placed, by reason", 8, "none",
                  ("{{gate}}", "longrun_unplaced_ready_tasks"), stack=True),
            bars("Attempts that ended badly, within the hour", 8, "none", "{{class}}",
                 "longrun:attempt_failures:increase1h")]),
    ]}

WORKERS = {
    "file": "workers", "uid": "longrun-workers", "title": "longrun: workers and devices",
    "variables": [
        variable("worker", "Worker", "label_values(longrun_worker_slots, instance)", several=True)],
    "rows": [
        ("Now", [
            stat("Workers with a session", 6, "none",
                 f"sum(longrun_worker_session_connected{{{ON}}})"),
            stat("Slots", 6, "none", f"sum by (state) (longrun_worker_slots{{{ON}}})",
                 legend="{{state}}"),
            stat("Trainers started", 6, "none",
                 f"sum by (kind) (longrun_worker_attempts_started_total{{{ON}}})",
                 "Since the worker started.", legend="{{kind}}"),
            stat("Device memory", 6, "bytes",
                 f"longrun_worker_device_memory_bytes{{{ON}}}", legend="{{device}}")]),
        ("Slots", [
            lines("Slots busy", 8, "none",
                  ("{{instance}} {{state}}", f"longrun_worker_slots{{{ON}}}"), stack=True),
            lines("What slots work on", 8, "none",
                  ("{{kind}} {{method}} {{dataset}}",
                   f"sum by (kind, method, dataset) (longrun_worker_slot_info{{{ON}}})"),
                  stack=True, description="Slots by kind of task, position method and dataset."),
            lines("Trainers ended, by class", 8, "none",
                  ("{{class}}", f"sum by (class) (longrun_worker_attempts_ended_total{{{ON}}})"),
                  description="Since the worker started; none: as it should be."),
            lines("Step time by slot", 8, "s",
                  *quantiles("longrun_worker_step_seconds", "instance, slot",
                             "{{instance}} slot {{slot}} ", ON)),
            lines("Tokens per second by slot", 8, "short",
                  ("{{instance}} slot {{slot}}",
                   f"longrun_worker_slot_tokens_per_second{{{ON}}}")),
            lines("Training loss by slot", 8, "none",
                  ("{{instance}} slot {{slot}}", f"longrun_worker_slot_loss_nats{{{ON}}}"),
                  minimum=None)]),
        ("Devices", [
            lines("Device utilisation", 8, "percentunit",
                  ("{{instance}} {{device}}",
                   f"longrun_worker_device_utilization_ratio{{{ON}}}")),
            lines("Device memory in use", 8, "percentunit",
                  ("{{instance}} {{device}}",
                   f"longrun_worker_device_memory_used_bytes{{{ON}}} / "
                   f"longrun_worker_device_memory_bytes{{{ON}}}")),
            listing("Devices", 8, f"longrun_worker_device_info{{{ON}}}",
                    ["instance", "device", "kind", "name"])]),
        ("Disk, journals and the daemon itself", [
            lines("Disk free", 6, "percentunit",
                  ("{{instance}}", f"longrun_disk_free_bytes{{{ON}}} / longrun_disk_bytes{{{ON}}}")),
            lines("Journals not acknowledged", 6, "bytes",
                  ("{{instance}}", f"longrun_worker_journal_backlog_bytes{{{ON}}}")),
            lines("CPU of the daemon", 6, "percentunit",
                  ("{{instance}}", f"rate(process_cpu_seconds_total{{{ON}}}[$__rate_interval])"),
                  description="Seconds of CPU in a second; trainers are processes of their own."),
            lines("Memory of the daemon", 6, "bytes",
                  ("{{instance}}", f"process_resident_memory_bytes{{{ON}}}"))]),
    ]}

COORDINATOR = {
    "file": "coordinator", "uid": "longrun-coordinator", "title": "longrun: coordinator",
    "variables": [],
    "rows": [
        ("Now", [
            stat("Rows stored per second", 4, "short", "longrun:ingest_rows:rate5m"),
            stat("Commit, 99 %", 4, "s", "longrun:store_commit_seconds:p99_5m"),
            stat("Ingest lag, 99 %", 4, "s", "longrun:ingest_lag_seconds:p99_5m"),
            stat("Sessions", 4, "none", "longrun_sessions"),
            stat("Calls that failed", 4, "percentunit", "longrun:grpc_errors:ratio5m"),
            stat("Up for", 4, "s",
                 'time() - process_start_time_seconds{job="longrun-coordinator"}')]),
        ("From journal to disk", [
            lines("Rows stored per second", 8, "short",
                  ("{{kind}}", "rate(longrun_ingest_rows_total[$__rate_interval])"), stack=True),
            lines("Ingest lag", 8, "s", *quantiles("longrun_ingest_lag_seconds"),
                  description="Age of a batch's newest record when it was committed."),
            lines("Commit", 8, "s", *quantiles("longrun_store_commit_seconds")),
            lines("Writes in a transaction", 8, "short", *quantiles("longrun_store_batch_rows")),
            lines("Database and write-ahead log", 8, "bytes",
                  ("database", "longrun_store_database_bytes"), ("WAL", "longrun_store_wal_bytes")),
            lines("Left aside", 8, "none",
                  ("duplicates", "longrun_ingest_duplicates_total"),
                  ("malformed", "longrun_ingest_malformed_total"),
                  ("WAL busy", "longrun_store_busy_total"),
                  ("sweeps without series", "longrun_sweeps_left_out"),
                  description="Since the coordinator started; of sweeps, now.")]),
        ("Scheduler", [
            lines("Step", 8, "s", *quantiles("longrun_scheduler_step_seconds"),
                  description="One event in the scheduler."),
            lines("From READY to an offer", 8, "s",
                  *quantiles("longrun_schedule_latency_seconds", "kind", "{{kind}} ")),
            lines("State changes per second", 8, "short",
                  ("to {{to}}", "sum by (to) (rate(longrun_task_transitions_total"
                   "[$__rate_interval]))")),
            lines("Ready and not placed, by reason", 8, "none",
                  ("{{gate}}", "longrun_unplaced_ready_tasks"), stack=True),
            lines("Time that attempts held a slot", 8, "s",
                  ("{{kind}} {{outcome}}",
                   "sum by (kind, outcome) (longrun_attempt_seconds_total) > 0"),
                  description="Since the coordinator started, by how they ended."),
            lines("Workers", 8, "none", ("{{state}}", "longrun_workers"),
                  ("lost leases", "longrun_lease_expirations_total"),
                  ("fenced", "longrun_fenced_total"))]),
        ("Calls", [
            lines("Calls per second", 8, "short",
                  ("{{method}} {{code}}", "sum by (method, code) (rate("
                   "longrun_grpc_server_handled_total[$__rate_interval])) > 0")),
            lines("Latency, 99 %", 8, "s",
                  ("{{method}}", "histogram_quantile(0.99, sum by (method, le) (rate("
                   "longrun_grpc_server_handling_seconds_bucket[$__rate_interval])))"),
                  description="Unary calls."),
            lines("Journals not acknowledged, by worker", 8, "bytes",
                  ("{{worker}}", "longrun_journal_backlog_bytes"))]),
        ("The daemon itself", [
            lines("CPU", 6, "percentunit",
                  ("CPU", 'rate(process_cpu_seconds_total{job="longrun-coordinator"}'
                   "[$__rate_interval])")),
            lines("Memory", 6, "bytes",
                  ("resident", 'process_resident_memory_bytes{job="longrun-coordinator"}'),
                  ("messages of sessions", "longrun_session_memory_bytes")),
            lines("Disk free", 6, "percentunit",
                  ("{{job}}", 'longrun:disk_free:ratio{job="longrun-coordinator"}')),
            listing("Releases", 6, "longrun_build_info", ["job", "version", "revision"])]),
    ]}


# ---- from description to JSON --------------------------------------------------------------------

def dashboard(description):
    panels, y, number = [], 0, 0
    for title, row in description["rows"]:
        number += 1
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False,
                       "panels": [], "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        x = height = 0
        for one in row:
            width = one["gridPos"]["w"]
            if x + width > 24:
                x, y, height = 0, y + height, 0
            number += 1
            panels.append({"id": number, **one, "gridPos": {"x": x, "y": y, **one["gridPos"]}})
            x, height = x + width, max(height, one["gridPos"]["h"])
        y += height
    return {"uid": description["uid"], "title": description["title"], "tags": ["longrun"],
            "schemaVersion": SCHEMA_VERSION, "version": 1, "editable": False, "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"}, "timezone": "browser",
            "templating": {"list": description["variables"]}, "annotations": {"list": []},
            "links": [{"type": "dashboards", "tags": ["longrun"], "title": "longrun",
                       "asDropdown": False, "includeVars": False, "keepTime": True}],
            "panels": panels}


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit("usage: tools/dashboards.py [--check]")
    stale = []
    for description in (SWEEPS, WORKERS, COORDINATOR):
        path = FOLDER / (description["file"] + ".json")
        text = json.dumps(dashboard(description), indent=1, ensure_ascii=False) + "\n"
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(str(path))
        elif not check:
            path.write_text(text, encoding="utf-8")
    wanted = {d["file"] + ".json" for d in (SWEEPS, WORKERS, COORDINATOR)}
    stale += [str(p) for p in FOLDER.glob("*.json") if p.name not in wanted]
    if stale:
        sys.exit("not as tools/dashboards.py writes them: " + ", ".join(stale))


if __name__ == "__main__":
    main()
