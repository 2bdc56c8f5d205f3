"""Logs in strace's form: whether they are whole, and whether what mta-trace tells is a part of what strace tells.

Usage: check_strace.py --form FILE LOG...   every line is strace's, what is unfinished is resumed, times go forward; as many calls as the log has
       check_strace.py --part FILE STRACE  each call of FILE is one of STRACE, in its thread's order, with the same name, arguments and result
Exit code 1 where not. An argument `...` is not known, nor is what stands behind the last; a string that ends in dots is the beginning of one.
"""

import json
import re
import sys
from collections import Counter, defaultdict

LINE = re.compile(r"^(\d+) +(\d+\.\d{6}) (.*)$")
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed> ?(.*)$")
CALL = re.compile(r"^(\w+)\((.*)$")
MARK = re.compile(r"^(\+\+\+ (exited with -?\d+|killed by [\w ()]+) \+\+\+|--- .* ---)$")
UNFINISHED, DETACHED = " <unfinished ...>", " <detached ...>"
# A call that strace stops at waits for strace too, and that is what the tracer sees: of short ones the times say nothing.
LONG_S, SLACK_S = 0.1, 0.05


class Call:
    def __init__(self, tid, time, name, text):
        self.tid, self.time, self.name, self.text = tid, float(time), name, text
        self.args, self.result, self.took = None, None, None

    def end(self, problems):
        args, rest = split_args(self.text)
        match = re.match(r"^ *= (.*?)(?: <(\d+\.\d{6})>)?$", rest or "")
        if args is None or match is None:
            problems.append(f"no call: {self.name}({self.text}")
            return
        self.args, self.result = args, match[1]
        self.took = None if match[2] is None else float(match[2])

    def __str__(self):
        return f"{self.tid} {self.time:.6f} {self.name}({', '.join(self.args)}) = {self.result}"


def split_args(text):
    """Arguments up to the parenthesis that closes the call, and what stands behind it."""
    args, depth, start, at = [], 0, 0, 0
    while at < len(text):
        c = text[at]
        if c == '"':
            at += 1
            while at < len(text) and text[at] != '"':
                at += 2 if text[at] == "\\" else 1
        elif c in "([{":
            depth += 1
        elif c == ")" and depth == 0:
            last = text[start:at].strip()
            return args + ([last] if last or args else []), text[at + 1 :]
        elif c in ")]}":
            depth -= 1
        elif c == "," and depth == 0:
            args.append(text[start:at].strip())
            start = at + 1
        at += 1
    return None, None


def read(path, problems, is_strict):
    """Calls by thread. Of a thread's calls one ends before the next begins."""
    calls, open_calls, last = defaultdict(list), {}, 0.0
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for line in lines:
        match = LINE.match(line)
        if not match:
            problems.append(f"no line of strace: {line}")
            continue
        tid, time, text = int(match[1]), match[2], match[3]
        if float(time) < last and is_strict:
            problems.append(f"time goes back: {line}")
        last = float(time)
        if MARK.match(text):
            continue
        resumed = RESUMED.match(text)
        if resumed:
            call = open_calls.pop(tid, None)
            if call is None or call.name != resumed[1]:
                problems.append(f"resumed what had not begun: {line}")
                continue
            call.text += resumed[2]
            call.end(problems)
            calls[tid].append(call)
            continue
        match = CALL.match(text)
        if not match:
            problems.append(f"no call: {line}")
            continue
        if tid in open_calls and is_strict:
            problems.append(f"a call within another: {line}")
        call = Call(tid, time, match[1], match[2])
        if call.text.endswith(DETACHED):
            continue
        if call.text.endswith(UNFINISHED):
            call.text = call.text[: -len(UNFINISHED)]
            open_calls[tid] = call
        else:
            call.end(problems)
            calls[tid].append(call)
    if is_strict:
        problems += [f"never resumed: {call.tid} {call.name}" for call in open_calls.values()]
    return calls


def string(arg):
    """The bytes of a string, and whether there are more."""
    match = re.match(r'^"((?:[^"\\]|\\.)*)"(\.\.\.)?$', arg)
    return None if match is None else (match[1], match[2] is not None)


def same(ours, real):
    """Whether an argument may be the same."""
    if ours == real or ours == "...":
        return True
    our_text, real_text = string(ours), string(real)
    if our_text and real_text:
        return real_text[0].startswith(our_text[0]) if our_text[1] else our_text == real_text
    # Bits come in another order.
    if re.match(r"^[A-Z_0-9|x]+$", ours) and set(ours.split("|")) == set(real.split("|")):
        return True
    for opening, closing in ("{}", "[]"):
        if ours[:1] == opening and real[:1] == opening and ours[-1:] == closing:
            our_parts, _ = split_args(ours[1:-1] + ")")
            real_parts, _ = split_args(real[1:-1] + ")")
            return our_parts is not None and real_parts is not None and parts_are_same(our_parts, real_parts)
    our_name, _, our_value = ours.partition("=")
    real_name, _, real_value = real.partition("=")
    return bool(our_value) and our_name == real_name and same(our_value, real_value)


def parts_are_same(ours, real):
    """Each named part is one of the real ones; others stand in their order."""
    rest = list(real)
    for part in ours:
        if part == "...":
            continue
        found = next((it for it in rest if same(part, it)), None)
        if found is None:
            return False
        rest.remove(found)
    return True


def result_of(text):
    """Without what `select` tells of its sets, which is not kept, and what a number is called."""
    return re.sub(r" \((in|left|out|flags) .*\)$", "", text)


def is_same(ours, real):
    # Of a call that is not in the table only the number is known.
    if not ours.name.startswith("syscall_") and ours.name != real.name or ours.result != "?" and result_of(ours.result) != result_of(real.result):
        return False
    return all(same(a, b) for a, b in zip(ours.args, real.args)) and len(ours.args) <= len(real.args)


def part(ours_path, real_path):
    problems = []
    ours, real = read(ours_path, problems, True), read(real_path, problems, False)
    found, missing, long = Counter(), [], 0
    for tid, calls in ours.items():
        rest = real.get(tid, [])
        at = 0
        for call in calls:
            # Where strace stops a call at its exit the thread waits once more in it.
            first = max(at - 1, 0) if call.result == "?" else at
            index = next((i for i in range(first, len(rest)) if is_same(call, rest[i])), None)
            if index is None:
                near = [str(it) for it in rest if it.name == call.name and abs(it.time - call.time) < 0.05]
                missing.append(f"not in strace's: {call}\n    nearest: {near[:3]}")
                continue
            twin = rest[index]
            at = index + 1
            found[call.name] += 1
            if call.result != "?" and (twin.took or 0.0) >= LONG_S and (abs(call.time - twin.time) > SLACK_S or abs((call.took or 0.0) - twin.took) > SLACK_S):
                problems.append(f"{call} <{call.took}>: there at {twin.time:.6f}, <{twin.took}>")
            long += (twin.took or 0.0) >= LONG_S
    if not long:
        problems.append("no call takes long: nothing was compared by its time")
    print(f"{sum(found.values())} calls of {sum(len(it) for it in ours.values())} are strace's, {long} of them long ones; it has {sum(len(it) for it in real.values())}: {dict(found)}")
    return problems + missing


def record_of(line):
    """None: a line that nobody can read is in no export."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "k" in record else None


def form(path, log):
    problems = []
    calls = read(path, problems, True)
    if log:
        with open(log, encoding="utf-8", errors="replace") as file:
            records = [it for it in map(record_of, file) if it]
        offsets = [it["wall_ns"] - it["t"] for it in records if it["k"] == "clock"] + [records[0]["boot_to_wall_ns"]]
        if max(offsets) - min(offsets) > 1e8:
            # The wall clock was set.
            problems = [it for it in problems if not it.startswith("time goes back")]
        expected = Counter(record["call"] for record in records if record["k"] == "sys")
        blocks = Counter(record.get("call") or f"syscall_{record['nr']:#x}" for record in records if record["k"] == "block" and not record.get("unfinished") and record["nr"] >= 0)
        killed = Counter(record["call"] for record in records if record["k"] == "exit" and record.get("call"))
        found = Counter(call.name for of_thread in calls.values() for call in of_thread)
        if found != expected + blocks + killed:
            problems.append(f"calls {found} instead of {expected + blocks + killed}")
    return problems


if __name__ == "__main__":
    mode, *paths = sys.argv[1:]
    failed = False
    pairs = list(zip(paths[::2], paths[1::2]))
    for ours, other in pairs or [(paths[0], None)]:
        for problem in part(ours, other) if mode == "--part" else form(ours, other):
            failed = True
            print(f"{ours}: {problem}")
    sys.exit(failed)
