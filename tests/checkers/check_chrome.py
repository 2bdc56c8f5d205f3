"""Chrome trace JSON of `--to chrome`: complete events nest on each thread, arrows go in pairs, times are the report's.

Usage: check_chrome.py TRACE REPORT...  pairs; says what is wrong, exit code 1.
"""

import json
import sys
from collections import Counter, defaultdict

ROUNDING_US = 0.002


def check(trace, report):
    tracks, names, begun, ended = defaultdict(list), set(), Counter(), Counter()
    for event in trace:
        key = (event["pid"], event["tid"])
        kind = event["ph"]
        if kind == "M":
            names.add((event["name"], key))
        elif kind == "X":
            tracks[key].append((event["ts"], event["ts"] + event["dur"], event))
        elif kind == "s":
            begun[event["id"]] += 1
        elif kind == "f":
            ended[event["id"]] += 1
        elif kind not in ("i", "C"):
            yield f"an event of the kind {kind}"
        if kind in "Xi" and not any(it == ("thread_name", key) or it == ("process_name", key) for it in names):
            yield f"{event['name']} on a thread without a name"
    if begun != ended or any(count != 1 for count in begun.values()):
        yield f"arrows do not go in pairs: {begun} {ended}"
    for key, slices in tracks.items():
        open_slices = []
        for start, end, event in sorted(slices, key=lambda it: (it[0], -it[1])):
            while open_slices and open_slices[-1] <= start + ROUNDING_US:
                open_slices.pop()
            if open_slices and end > open_slices[-1] + ROUNDING_US:
                yield f"{event['name']} sticks out of what is around it"
            open_slices.append(end)
    sessions = {event["name"]: event for track in tracks.values() for _, _, event in track if event["cat"] == "session"}
    for session in report["sessions"]:
        event = sessions.pop(f"session {session['id']} from {session['client']}", None)
        if event is None or abs(event["dur"] - session["elapsed_s"] * 1e6) > ROUNDING_US:
            yield f"session {session['id']}: {event}"
    if sessions:
        yield f"sessions that there are not: {list(sessions)}"


if __name__ == "__main__":
    failed = False
    for path, report in zip(sys.argv[1::2], sys.argv[2::2]):
        with open(path, encoding="utf-8") as trace, open(report, encoding="utf-8") as expected:
            for problem in check(json.load(trace), json.load(expected)):
                failed = True
                print(f"{path}: {problem}")
    sys.exit(failed)
