"""The tables of `--to parquet`, read by DuckDB, against the JSON report and the log itself, which DuckDB reads too.

Usage: check_parquet.py PROGRAM FOLDER LOG...   exports each log below FOLDER; says what is wrong, exit code 1.
"""

import json
import os
import subprocess
import sys
from datetime import datetime, timezone

import duckdb

EVENTS = ("sys", "block", "fork", "exec", "exit", "accept-backlog")
TYPES = {"started": "TIMESTAMP WITH TIME ZONE", "at": "TIMESTAMP WITH TIME ZONE", "complete": "BOOLEAN"}
NUMBERS = ("pid", "tid", "daemon_pid", "peer_pid", "command", "commands", "wait", "inner_of", "attempts", "reply_code", "t", "fd", "ret", "len", "inode", "bytes")


def run(program, *args):
    return subprocess.run([program, *args], check=True, stdout=subprocess.PIPE).stdout


def rows(path):
    found = duckdb.sql(f"SELECT * FROM '{path}'")
    return [dict(zip(found.columns, row)) for row in found.fetchall()]


def types(path):
    for name, kind, *_ in duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall():
        expected = TYPES.get(name) or ("DOUBLE" if name.endswith("_s") else "BIGINT" if name in NUMBERS or name.endswith("_ns") else "VARCHAR")
        if kind != expected:
            yield f"{path}: {name} is {kind}"


def all_waits(session):
    def below(waits, command, inner_of):
        for wait in waits:
            number[0] += 1
            own = number[0]
            yield wait, command, own, inner_of
            yield from below(wait.get("inner", []), command, own)

    number = [-1]
    for command in session["commands"]:
        yield from below(command["waits"], command["index"], None)
    yield from below(session.get("between", []), None, None)


def moment(session, seconds):
    return datetime.fromisoformat(session["started"].replace("Z", "+00:00")).timestamp() + seconds


def differs(row, expected, session):
    for name, value in expected.items():
        if row[name] != value:
            yield f"{name} is {row[name]!r}, not {value!r}"
    if abs(row["started"].astimezone(timezone.utc).timestamp() - moment(session, row.get("start_s", 0.0))) > 2e-6:
        yield f"started is {row['started']}"


def compare(found, expected):
    if len(found) != len(expected):
        yield f"{len(found)} rows instead of {len(expected)}"
        return
    for row, (session, values) in zip(found, expected):
        yield from (f"{session['id']}: {problem}" for problem in differs(row, values, session))


def check(folder, report, log):
    tables = {name: f"{folder}/{name}.parquet" for name in ("sessions", "commands", "waits", "events")}
    for path in tables.values():
        yield from types(path)
    same = ("mta", "mta_version", "pid", "daemon_pid", "client", "server", "elapsed_s", "client_s", "complete", "began")
    expected = [(it, {"session": it["id"], "ended": it["end"], "commands": len(it["commands"]), **{name: it[name] for name in same}}) for it in report["sessions"]]
    order = {it["id"]: number for number, it in enumerate(report["sessions"])}
    sessions = sorted(rows(tables["sessions"]), key=lambda row: order[row["session"]])
    yield from compare(sessions, expected)
    same = ("verb", "line", "reply_code", "reply", "start_s", "elapsed_s", "short_waits_s", "cpu_s", "runqueue_s", "unexplained_s")
    expected = [(it, {"session": it["id"], "command": command["index"], **{name: command[name] for name in same}}) for it in report["sessions"] for command in it["commands"]]
    yield from compare(sorted(rows(tables["commands"]), key=lambda row: order[row["session"]]), expected)
    same, dns = ("cause", "target", "start_s", "elapsed_s", "outcome"), ("qname", "qtype", "rcode")
    expected = []
    for it in report["sessions"]:
        for wait, command, number, inner_of in all_waits(it):
            values = {"session": it["id"], "command": command, "wait": number, "inner_of": inner_of, **{name: wait[name] for name in same}}
            values |= {name: wait["dns"][name] if "dns" in wait else None for name in dns}
            values |= {"attempts": wait.get("attempts"), "timer_s": wait.get("timer_s"), "peer_comm": wait.get("peer", {}).get("comm")}
            expected.append((it, values))
    yield from compare(sorted(rows(tables["waits"]), key=lambda row: order[row["session"]]), expected)
    # The log by DuckDB's own reader; lines that are no JSON are passed over by both.
    read = f"read_json('{log}', format = 'newline_delimited', ignore_errors = true, columns = {{k: 'VARCHAR', t: 'UBIGINT', pid: 'BIGINT', call: 'VARCHAR', ret: 'BIGINT'}})"
    of_log = duckdb.sql(f"SELECT k, t, pid FROM {read} WHERE k IN {EVENTS}").fetchall()
    of_table = duckdb.sql(f"SELECT kind, t, pid FROM '{tables['events']}'").fetchall()
    if sorted(of_log, key=str) != sorted(of_table, key=str):
        yield f"{len(of_table)} events in the table, {len(of_log)} in the log, or others"


if __name__ == "__main__":
    program, folder, *logs = sys.argv[1:]
    failed = False
    for path in logs:
        to = os.path.join(folder, os.path.basename(path).removesuffix(".jsonl"))
        run(program, "export", path, "--to", "parquet", "-o", to)
        for problem in check(to, json.loads(run(program, "report", path, "--format", "json")), path):
            failed = True
            print(f"{path}: {problem}")
    sys.exit(failed)
