"""A Perfetto trace of mta-trace, decoded with the descriptors of the package `perfetto`, and held against the JSON report.

Usage: check_perfetto.py TRACE REPORT...  pairs of files; says what is wrong, exit code 1.  check_perfetto.py --tree [--long] TRACE  prints the slices as a tree,
with --long without marks, and without what is shorter than 4 ms.
What must hold: slices of a track are balanced and nest; their names, times and evidence are the report's; arrows go in pairs.
"""

import json
import sys
from collections import Counter, defaultdict
from datetime import datetime

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb

ROUNDING_NS = 2
REALTIME, MONOTONIC = 1, 3


class Slice:
    def __init__(self, event, t):
        self.name, self.start, self.end, self.inside = event.name, t, None, []
        self.category = event.categories[0]
        self.notes = {note.name: value(note) for note in event.debug_annotations}
        self.flows, self.ending = list(event.flow_ids), list(event.terminating_flow_ids)

    def all(self):
        yield self
        for inside in self.inside:
            yield from inside.all()


def value(note):
    kind = note.WhichOneof("value")
    return getattr(note, kind) if kind else [value(it) for it in note.array_values]


class Trace:
    def __init__(self, path):
        trace = pb.Trace()
        with open(path, "rb") as file:
            trace.ParseFromString(file.read())
        self.problems, self.tracks, self.roots, self.offsets = [], {}, defaultdict(list), []
        if not trace.packet or trace.packet[0].clock_snapshot.primary_trace_clock != MONOTONIC:
            self.problems.append("the first packet does not say which clock it is")
        events = defaultdict(list)
        for packet in trace.packet:
            unknown = packet.DESCRIPTOR.name and list(unknown_fields(packet))
            if unknown:
                self.problems.append(f"fields that the descriptors do not have: {unknown}")
            if packet.trusted_packet_sequence_id != 1:
                self.problems.append("a packet without its sequence")
            kind = packet.WhichOneof("data")
            if kind == "track_descriptor":
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
            elif kind == "clock_snapshot":
                clocks = {clock.clock_id: clock.timestamp for clock in packet.clock_snapshot.clocks}
                self.offsets.append((clocks[MONOTONIC], clocks[REALTIME] - clocks[MONOTONIC]))
            elif kind == "track_event":
                if packet.timestamp_clock_id != MONOTONIC:
                    self.problems.append("an event of another clock")
                if packet.track_event.track_uuid not in self.tracks:
                    self.problems.append("an event on a track without a name")
                events[packet.track_event.track_uuid].append((packet.timestamp, packet.track_event))
            else:
                self.problems.append(f"a packet of {kind}")
        for uuid, of_track in events.items():
            self.nest(uuid, of_track)

    def nest(self, uuid, events):
        """As a viewer does it: by time, what came first stays first."""
        open_slices = []
        for t, event in sorted(events, key=lambda it: it[0]):
            into = open_slices[-1].inside if open_slices else self.roots[uuid]
            if event.type in (event.TYPE_SLICE_BEGIN, event.TYPE_INSTANT):
                into.append(Slice(event, t))
                if event.type == event.TYPE_INSTANT:
                    into[-1].end = t
                else:
                    open_slices.append(into[-1])
            elif event.type == event.TYPE_SLICE_END:
                if not open_slices:
                    self.problems.append(f"an end without a beginning at {t}")
                    continue
                open_slices.pop().end = t
        self.problems += [f"{it.name}: has no end" for it in open_slices]

    def slices(self):
        for roots in self.roots.values():
            for root in roots:
                yield from root.all()


def unknown_fields(message):
    """Numbers that the descriptors do not have, also inside."""
    from google.protobuf import unknown_fields as fields

    yield from (field.field_number for field in fields.UnknownFieldSet(message))
    for field, it in message.ListFields():
        if field.message_type:
            for inner in it if isinstance(it, (list, tuple)) or hasattr(it, "append") else [it]:
                yield from unknown_fields(inner)


def expected_waits(waits, session):
    for wait in waits:
        yield wait, session
        yield from expected_waits(wait.get("inner", []), session)


def close(a_ns, b_s):
    return abs(a_ns - b_s * 1e9) <= ROUNDING_NS


def check(trace, report):
    problems = trace.problems
    slices = list(trace.slices())
    order = ["session", "far-end", "command", "wait", "syscall"]
    for it in slices:
        end = it.start
        for inside in it.inside:
            if inside.start < max(end, it.start) or inside.end > it.end or order.index(inside.category) <= order.index(it.category):
                problems.append(f"{inside.name} does not lie in {it.name}")
            end = inside.end
    begins, ends = Counter(), Counter()
    for it in slices:
        begins.update(it.flows)
        ends.update(it.ending)
    if begins != ends or any(count != 1 for count in begins.values()):
        problems.append(f"arrows do not go in pairs: {begins} {ends}")
    sessions = [it for it in slices if it.category == "session"]
    if len(sessions) != len(report["sessions"]):
        return problems + [f"{len(sessions)} sessions instead of {len(report['sessions'])}"]
    waits = [it for it in slices if it.category == "wait"]
    for session in report["sessions"]:
        name = f"session {session['id']} from {session['client']}"
        own = [it for it in sessions if it.name == name]
        if len(own) != 1:
            problems.append(f"{name}: there {len(own)} times")
            continue
        problems += [f"{session['id']}: {problem}" for problem in check_session(trace, own[0], session, waits)]
    expected = sum(1 for session in report["sessions"] for _ in all_waits(session))
    if len(waits) != expected:
        problems.append(f"{len(waits)} waits instead of {expected}")
    return problems


def all_waits(session):
    top = [wait for command in session["commands"] for wait in command["waits"]] + session.get("between", [])
    yield from expected_waits(top, session)


def check_session(trace, drawn, session, waits):
    t = drawn.start
    if not close(drawn.end - t, session["elapsed_s"]):
        yield f"lasts {drawn.end - t} ns"
    offset = [offset for at, offset in trace.offsets if at <= t][-1:] or [trace.offsets[0][1]]
    started = datetime.fromisoformat(session["started"]).timestamp()
    if abs((t + offset[0]) / 1e9 - started) > 2e-6:
        yield f"begins at {(t + offset[0]) / 1e9}, not at {session['started']}"
    commands = [it for it in drawn.inside if it.category == "command"]
    if [it.name for it in commands] != [it["verb"] for it in session["commands"]]:
        yield f"has the commands {[it.name for it in commands]}"
        return
    for slice_, command in zip(commands, session["commands"]):
        if not close(slice_.start - t, command["start_s"]) or not close(slice_.end - slice_.start, command["elapsed_s"]):
            yield f"{command['verb']} has another time"
        if slice_.notes.get("reply_code") != command["reply_code"]:
            yield f"{command['verb']} has another reply"
        own = [it for it in slice_.inside if it.category == "wait"]
        if len(own) != len(command["waits"]):
            yield f"{command['verb']} has {len(own)} waits instead of {len(command['waits'])}"
    for wait, _ in all_waits(session):
        found = [it for it in waits if close(it.start - t, wait["start_s"]) and close(it.end - it.start, wait["elapsed_s"])]
        same = [it for it in found if (it.notes["cause"], it.notes.get("target"), it.notes["outcome"]) == (wait["cause"], wait["target"], wait["outcome"])]
        if not same:
            yield f"the wait {wait['cause']} at {wait['start_s']} is not there"
            continue
        dns = wait.get("dns")
        if dns and (same[0].notes["dns.qname"], same[0].notes["dns.qtype"]) != (dns["qname"], dns["qtype"]):
            yield f"another question: {same[0].notes}"
        if bool(wait.get("peer")) != bool(same[0].flows):
            yield f"the wait {wait['cause']} at {wait['start_s']} has no arrow to its peer, or one to nobody"


LONG_NS = 4_000_000


def print_tree(trace, is_long):
    first = min(it.start for it in trace.slices() if it.category == "session" or not is_long)
    for uuid, roots in sorted(trace.roots.items(), key=lambda it: it[1][0].start):
        if is_long and all(it.end - it.start < LONG_NS for it in roots):
            continue
        track = trace.tracks[uuid]
        process = trace.tracks.get(track.parent_uuid, track).process
        print(f"{process.process_name} (pid {process.pid}): {track.thread.thread_name or track.name or 'process'}")
        for root in roots:
            print_slice(root, first, 1, is_long)


def print_slice(it, first, level, is_long):
    if is_long and it.end - it.start < LONG_NS:
        return
    arrow = "".join(f" -->{flow}" for flow in it.flows) + "".join(f" {flow}-->" for flow in it.ending)
    length = f"{(it.end - it.start) / 1e9:9.6f}" if it.end > it.start else "     mark"
    notes = {name: note for name, note in it.notes.items() if name in ("line", "reply", "outcome", "attempts", "call", "unclear")}
    evidence = "" if is_long or not notes else f"  {notes}"
    print(f"{(it.start - first) / 1e9:10.6f} {length} {'  ' * level}{it.name}{arrow}{evidence}")
    for inside in it.inside:
        print_slice(inside, first, level + 1, is_long)


if __name__ == "__main__":
    if sys.argv[1] == "--tree":
        print_tree(Trace(sys.argv[-1]), "--long" in sys.argv)
        sys.exit()
    failed = False
    for path, report in zip(sys.argv[1::2], sys.argv[2::2]):
        with open(report, encoding="utf-8") as file:
            for problem in check(Trace(path), json.load(file)):
                failed = True
                print(f"{path}: {problem}")
    sys.exit(failed)
