"""OTLP of mta-trace, received over HTTP and decoded with the official message classes (`opentelemetry-proto`), against the JSON report.

Usage: check_otlp.py PROGRAM LOG...   sends each log to a collector of this script's own and writes it as OTLP JSON; says what is wrong, exit code 1.
       check_otlp.py --collect PORT     receives one request, prints the tree of its spans, and ends.
       The first log goes over TLS too: taken if the certificate is trusted and of this name, else refused before anything is sent.
What must hold: both encodings say the same, twice the same; spans of a trace nest by id, time and order; times are the report's; ids are unique.
"""

import base64
import http.server
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from datetime import datetime

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest as Request
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

ROUNDING_NS = 2
MAX_SPANS = 1000
ERRORS = ("timeout", "refused", "unreachable", "reset", "error")


class Collector(http.server.HTTPServer):
    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.requests, self.problems = [], []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/traces" or self.headers["Content-Type"] != "application/x-protobuf":
            self.server.problems.append(f"{self.path} {self.headers}")
        request = Request()
        request.ParseFromString(body)
        if request.SerializeToString() != body and Request.FromString(request.SerializeToString()) != request:
            self.server.problems.append("there is something in the bytes that the messages do not have")
        self.server.requests.append(request)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def of_json(text):
    """Requests of OTLP JSON: what differs from protobuf's own JSON is that ids are hexadecimal."""

    def ids(value):
        if isinstance(value, dict):
            return {key: base64.b64encode(bytes.fromhex(it)).decode() if key in ("traceId", "spanId", "parentSpanId") else ids(it) for key, it in value.items()}
        return [ids(it) for it in value] if isinstance(value, list) else value

    return [json_format.ParseDict(ids(json.loads(line)), Request()) for line in text.splitlines()]


def attributes(of):
    def value(any_value):
        kind = any_value.WhichOneof("value")
        return [value(it) for it in any_value.array_value.values] if kind == "array_value" else getattr(any_value, kind)

    return {it.key: value(it.value) for it in of.attributes}


def wall_ns(text):
    whole, fraction = text.rstrip("Z").split(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * 10**9 + int(fraction.ljust(9, "0"))


def at(session, seconds):
    return wall_ns(session["started"]) + round(seconds * 1e9)


def same(span, session, what):
    start, end = at(session, what["start_s"]), at(session, what["start_s"] + what["elapsed_s"])
    return abs(span.start_time_unix_nano - start) <= ROUNDING_NS and abs(span.end_time_unix_nano - end) <= ROUNDING_NS


def check(requests, report):
    spans = [(attributes(of.resource), span) for request in requests for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]
    by_trace = defaultdict(list)
    for resource, span in spans:
        if (len(span.trace_id), len(span.span_id)) != (16, 8):
            yield f"{span.name}: ids of {len(span.trace_id)} and {len(span.span_id)} bytes"
        by_trace[span.trace_id].append((resource, span))
    if len(by_trace) != len(report["sessions"]):
        yield f"{len(by_trace)} traces of {len(report['sessions'])} sessions"
    for all_of_it in by_trace.values():
        by_id = {span.span_id: span for _, span in all_of_it}
        if len(by_id) != len(all_of_it) or len(by_id) >= MAX_SPANS:
            yield f"{len(all_of_it)} spans with {len(by_id)} ids"
        children = defaultdict(list)
        for resource, span in all_of_it:
            children[span.parent_span_id].append((resource, span))
            parent = by_id.get(span.parent_span_id)
            if span.parent_span_id and parent is None:
                yield f"{span.name} has no parent"
            if parent is not None and not (
                parent.start_time_unix_nano - ROUNDING_NS <= span.start_time_unix_nano <= span.end_time_unix_nano <= parent.end_time_unix_nano + ROUNDING_NS
            ):
                yield f"{span.name} sticks out of {parent.name}"
            notes = attributes(span)
            if (span.status.code == Status.STATUS_CODE_ERROR) != ("error.type" in notes):
                yield f"{span.name}: {span.status} but {notes.get('error.type')}"
        (resource, root), *more = children[b""]
        if more:
            yield "several spans without a parent"
        notes = attributes(root)
        session = next(it for it in report["sessions"] if it["id"] == notes["mta_trace.session.id"])
        yield from (f"{session['id']}: {problem}" for problem in check_session(resource, root, notes, session, children, report))


def check_session(resource, root, notes, session, children, report):
    expected = {"service.name": session["mta"], "os.version": report["tool"]["kernel"], "telemetry.sdk.name": "mta-trace"}
    if any(resource.get(key) != value for key, value in expected.items()) or resource.get("service.version") != session["mta_version"]:
        yield f"its resource is {resource}"
    if not same(root, session, {"start_s": 0.0, "elapsed_s": session["elapsed_s"]}) or root.kind != Span.SPAN_KIND_SERVER:
        yield f"its span is {root}"
    client = f"[{notes['client.address']}]" if ":" in notes["client.address"] else notes["client.address"]
    if f"{client}:{notes['client.port']}" != session["client"] or notes["process.pid"] != session["pid"]:
        yield f"client and process are {notes}"
    below = [span for _, span in children[root.span_id]]
    commands = [span for span in below if "mta_trace.command.verb" in attributes(span)]
    if len(commands) != len(session["commands"]) or len(below) != len(commands) + len(session.get("between", [])):
        yield f"{len(below)} spans below it"
        return
    for span, command in zip(commands, session["commands"]):
        told = attributes(span)
        fields = (span.name, told.get("mta_trace.reply.code"), told["mta_trace.cpu_s"])
        if not same(span, session, command) or fields != (command["verb"], command["reply_code"], command["cpu_s"]):
            yield f"command {command['index']} is {span}"
        found = [it for it in session["findings"] if it["command"] == command["index"]]
        if sorted(attributes(event)["mta_trace.finding.rule"] for event in span.events) != sorted(it["rule"] for it in found):
            yield f"command {command['index']} has other findings"
        yield from check_waits(span, command["waits"], session, children, None)
    yield from check_waits(None, session.get("between", []), session, {None: [(None, span) for span in below if span not in commands]}, None)


def check_waits(parent, waits, session, children, helper):
    found = children[parent.span_id if parent else None]
    if len(found) != len(waits):
        yield f"{len(found)} spans of {len(waits)} waits"
        return
    for (resource, span), wait in zip(found, waits):
        told = attributes(span)
        if not same(span, session, wait) or told["mta_trace.wait.cause"] != wait["cause"] or told["mta_trace.wait.outcome"] != wait["outcome"]:
            yield f"the wait for {wait['cause']} at {wait['start_s']} is {span}"
        if told.get("error.type") != (wait["outcome"] if wait["outcome"] in ERRORS else None):
            yield f"{wait['cause']}: error.type is {told.get('error.type')}, the outcome {wait['outcome']}"
        if wait.get("dns") and told["dns.question.name"] != wait["dns"]["qname"]:
            yield f"asked for {told['dns.question.name']}"
        if helper and resource["service.name"] != helper:
            yield f"what {helper} waits for is told of {resource['service.name']}"
        if wait.get("inner"):
            yield from check_waits(span, wait["inner"], session, children, wait["peer"]["comm"])


def run(program, *args):
    return subprocess.run([program, *args], check=True, stdout=subprocess.PIPE).stdout


def check_log(program, log):
    report = json.loads(run(program, "report", log, "--format", "json"))
    sent = []
    for _ in range(2):
        collector = Collector()
        threading.Thread(target=collector.serve_forever, args=(0.02,), daemon=True).start()
        run(program, "export", log, "--to", "otlp", "--endpoint", f"http://127.0.0.1:{collector.server_port}")
        collector.shutdown()
        yield from collector.problems
        sent.append(collector.requests)
    if sent[0] != sent[1]:
        yield "the second time it is not the same"
    if of_json(run(program, "export", log, "--to", "otlp").decode()) != sent[0]:
        yield "JSON and protobuf differ"
    yield from check(sent[0], report)


def certificate(folder):
    """A CA, and a certificate of it for the name localhost."""

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    with open(os.path.join(folder, "names"), "w", encoding="ascii") as file:
        file.write("subjectAltName=DNS:localhost\n")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
    openssl("req", *key, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=localhost")
    openssl("x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "own.pem")


def check_tls(program, log):
    with tempfile.TemporaryDirectory() as folder:
        certificate(folder)
        collector = Collector()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(folder, "own.pem"), os.path.join(folder, "own.key"))
        collector.socket = context.wrap_socket(collector.socket, server_side=True)
        collector.handle_error = lambda *_: None
        threading.Thread(target=collector.serve_forever, args=(0.02,), daemon=True).start()
        trusted = {**os.environ, "SSL_CERT_FILE": os.path.join(folder, "ca.pem")}
        for host, environment, is_taken in [("localhost", trusted, True), ("127.0.0.1", trusted, False), ("localhost", os.environ, False)]:
            before = len(collector.requests)
            command = [program, "export", log, "--to", "otlp", "--endpoint", f"https://{host}:{collector.server_port}"]
            said = subprocess.run(command, env=environment, stderr=subprocess.PIPE, check=False)
            if (said.returncode == 0, len(collector.requests) > before) != (is_taken, is_taken):
                yield f"over TLS to {host}: {said}, {len(collector.requests) - before} requests"
            if not is_taken and b"invalid peer certificate" not in said.stderr:
                yield f"over TLS to {host}: {said.stderr}"
        collector.shutdown()


def tree(requests):
    children = defaultdict(list)
    for request in requests:
        for of in request.resource_spans:
            for span in (span for scope in of.scope_spans for span in scope.spans):
                children[span.parent_span_id].append((attributes(of.resource)["service.name"], span))

    def lines(parent, depth):
        for service, span in children[parent]:
            failed = ", " + span.status.message if span.status.code == Status.STATUS_CODE_ERROR else ""
            yield f"{'  ' * depth}{service}: {span.name} {(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9:.3f} s{failed}"
            yield from lines(span.span_id, depth + 1)

    return list(lines(b"", 0))


if __name__ == "__main__":
    if sys.argv[1] == "--collect":
        server = Collector(int(sys.argv[2]))
        print("listening", flush=True)
        while not server.requests:
            server.handle_request()
        server.server_close()
        print("\n".join(tree(server.requests)))
        sys.exit(0)
    is_wrong = False
    checks = [(path, check_log) for path in sys.argv[2:]] + [(sys.argv[2], check_tls)]
    for path, check_it in checks:
        for problem in check_it(sys.argv[1], path):
            is_wrong = True
            print(f"{path}: {problem}")
    sys.exit(is_wrong)
