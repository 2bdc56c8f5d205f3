"""The tables of `--to csv`, read by Python's csv module, against the JSON report.

Usage: check_csv.py FOLDER REPORT...  pairs; says what is wrong, exit code 1.
"""

import csv
import json
import sys
import unicodedata

# What a spreadsheet takes for a formula.
FORMULA = ("=", "+", "-", "@")


def shown(text):
    """A text as it stands in a cell; texts with characters that are not shown as they are differ and are passed over."""
    if text is None:
        return ""
    return "'" + text if text.lstrip().startswith(FORMULA) else text


def is_plain(text):
    return text is None or not any(unicodedata.category(c).startswith("C") for c in text)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        data = file.read()
    if not data.endswith("\r\n") or "\n" in data.replace("\r\n", ""):
        yield "problem", "lines do not end in CRLF"
    for row in csv.DictReader(data.splitlines(), strict=True):
        if None in row or None in row.values():
            yield "problem", f"another number of cells: {row}"
        for name, cell in row.items():
            if cell.startswith(FORMULA) and not is_number(cell):
                yield "problem", f"a formula in {name}: {cell}"
        yield "row", row


def is_number(cell):
    try:
        float(cell)
        return True
    except ValueError:
        return False


def all_waits(session):
    def below(waits, command, inner_of):
        for wait in waits:
            number[0] += 1
            own = number[0]
            yield wait, command, own, inner_of
            yield from below(wait.get("inner", []), command, own)

    number = [-1]
    for command in session["commands"]:
        yield from below(command["waits"], command, None)
    yield from below(session.get("between", []), None, None)


def close(cell, seconds):
    return abs(float(cell) - seconds) < 2e-9


def check(folder, report):
    found = {name: list(rows(f"{folder}/{name}.csv")) for name in ("commands", "waits")}
    for table, all_rows in found.items():
        yield from (f"{table}: {what}" for kind, what in all_rows if kind == "problem")
    commands, waits = ([row for kind, row in found[name] if kind == "row"] for name in ("commands", "waits"))
    expected = [(session, command) for session in report["sessions"] for command in session["commands"]]
    if len(commands) != len(expected):
        yield f"{len(commands)} commands instead of {len(expected)}"
    by_key = {(row["session"], row["command"]): row for row in commands}
    for session, command in expected:
        row = by_key.get((session["id"], str(command["index"])))
        if row is None:
            yield f"{session['id']}: command {command['index']} is not there"
            continue
        for name in ("start_s", "elapsed_s", "cpu_s", "runqueue_s", "short_waits_s", "unexplained_s"):
            if not close(row[name], command[name]):
                yield f"{session['id']} {command['index']}: {name} is {row[name]}"
        for name in ("verb", "line", "reply"):
            if is_plain(command[name]) and row[name] != shown(command[name]):
                yield f"{session['id']} {command['index']}: {name} is {row[name]!r}"
        if row["reply_code"] != str(command["reply_code"] or ""):
            yield f"{session['id']} {command['index']}: reply_code is {row['reply_code']}"
    expected = [(session, *it) for session in report["sessions"] for it in all_waits(session)]
    if len(waits) != len(expected):
        yield f"{len(waits)} waits instead of {len(expected)}"
    by_key = {(row["session"], row["wait"]): row for row in waits}
    for session, wait, command, number, inner_of in expected:
        row = by_key.get((session["id"], str(number)))
        if row is None:
            yield f"{session['id']}: wait {number} is not there"
            continue
        key = ("" if command is None else str(command["index"]), "" if inner_of is None else str(inner_of))
        same = (row["command"], row["inner_of"]) == key and (row["cause"], row["outcome"]) == (wait["cause"], wait["outcome"])
        if not same or not close(row["start_s"], wait["start_s"]) or not close(row["elapsed_s"], wait["elapsed_s"]):
            yield f"{session['id']}: wait {number} is {row}"
        if is_plain(wait["target"]) and row["target"] != shown(wait["target"]):
            yield f"{session['id']}: wait {number}: target is {row['target']!r}"


if __name__ == "__main__":
    failed = False
    for folder, report in zip(sys.argv[1::2], sys.argv[2::2]):
        with open(report, encoding="utf-8") as file:
            for problem in check(folder, json.load(file)):
                failed = True
                print(f"{folder}: {problem}")
    sys.exit(failed)
