//! `otlp`: sessions as traces of OpenTelemetry, sent to a collector (OTLP/HTTP, protobuf) or written as OTLP JSON, one request a line.
//!
//! In: sessions that have ended. Out: requests of at most [`MAX_BATCH`] spans, so that memory and requests are bounded. A helper that the mail server
//! waited for is a service of its own. Ids follow from the session: a second export gives the same. Not here: gRPC, gzip.

mod http;
mod ids;
mod proto;
mod spans;

use super::{Error, Export, Form, Format, Output, Resolve};
use crate::event::Record;
use crate::report::{Report, Session};
use http::{Answer, Url};
use prost::Message;
use proto::{KeyValue, Refusal, Resource, ResourceSpans, Response, Scope, ScopeSpans, Span, Traces, attribute};
use spans::{Owned, Service};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

/// The line of the table.
pub const FORMAT: Format =
    Format { name: "otlp", about: "OpenTelemetry traces: to a collector by --endpoint, or as OTLP JSON", form: Form::FileOrEndpoint, begin };

/// Spans of a request.
const MAX_BATCH: usize = 512;
/// A collector that asks for more patience is not waited for.
const MAX_RETRY_S: u64 = 30;
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

fn begin(output: Output) -> Result<Box<dyn Export>, Error> {
    let sink = match output {
        Output::Endpoint { url: endpoint, resolve } => match Url::of_traces(&endpoint) {
            Ok(url) => Sink::Collector { endpoint, url, resolve, rejected: 0, why: String::new() },
            Err(reason) => return Err(Error::Endpoint { endpoint, reason }),
        },
        other => Sink::File(other.stream()?),
    };
    Ok(Box::new(Otlp { sink, host: Host::default(), waiting: Vec::new() }))
}

struct Otlp {
    sink: Sink,
    host: Host,
    /// Spans that were not sent yet.
    waiting: Vec<Owned>,
}

enum Sink {
    File(Box<dyn Write>),
    Collector {
        endpoint: String,
        url: Url,
        resolve: Resolve,
        /// What it did not take of requests that it took, and why.
        rejected: i64,
        why: String,
    },
}

/// What is said of the machine with each service.
#[derive(Default)]
struct Host {
    kernel: Option<String>,
    arch: Option<String>,
    tool: Option<String>,
}

impl Export for Otlp {
    fn record(&mut self, record: &Record) -> Result<(), Error> {
        if let Record::Header(header) = record {
            let shown = |text: &str| Some(crate::view::escape::escape(text).into_owned());
            self.host = Host { kernel: shown(&header.kernel), arch: shown(&header.arch), tool: shown(&header.tool) };
        }
        Ok(())
    }

    fn session(&mut self, session: &Session) -> Result<(), Error> {
        self.waiting.extend(spans::of(session));
        while self.waiting.len() >= MAX_BATCH {
            let rest = self.waiting.split_off(MAX_BATCH);
            self.send()?;
            self.waiting = rest;
        }
        Ok(())
    }

    fn finish(&mut self, _totals: &Report) -> Result<(), Error> {
        self.send()?;
        match &mut self.sink {
            Sink::File(out) => Ok(out.flush()?),
            Sink::Collector { endpoint, rejected, why, .. } if *rejected > 0 => {
                let reason = format!("took the requests, but rejected {rejected} spans: {why}");
                Err(Error::Endpoint { endpoint: endpoint.clone(), reason })
            }
            Sink::Collector { .. } => Ok(()),
        }
    }
}

impl Otlp {
    /// Sends what waits.
    fn send(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let traces = self.host.traces(std::mem::take(&mut self.waiting));
        match &mut self.sink {
            Sink::File(out) => {
                serde_json::to_writer(&mut *out, &traces).map_err(std::io::Error::from)?;
                Ok(out.write_all(b"\n")?)
            }
            Sink::Collector { endpoint, url, resolve, rejected, why } => match deliver(url, *resolve, &traces.encode_to_vec()) {
                Ok(response) => {
                    if let Some(partial) = response.partial_success {
                        *rejected = rejected.saturating_add(partial.rejected_spans.max(0));
                        *why = said(partial.error_message.as_bytes());
                    }
                    Ok(())
                }
                Err(reason) => Err(Error::Endpoint { endpoint: endpoint.clone(), reason }),
            },
        }
    }
}

impl Host {
    /// Spans by the services that they are of.
    fn traces(&self, spans: Vec<Owned>) -> Traces {
        let mut by_service: BTreeMap<Service, Vec<Span>> = BTreeMap::new();
        for Owned { service, span, .. } in spans {
            by_service.entry(service).or_default().push(span);
        }
        let scope = Scope { name: "mta-trace".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let of_service = |(service, spans)| ResourceSpans {
            resource: Some(Resource { attributes: self.attributes(&service) }),
            scope_spans: vec![ScopeSpans { scope: Some(scope.clone()), spans }],
            schema_url: SCHEMA.to_owned(),
        };
        Traces { resource_spans: by_service.into_iter().map(of_service).collect() }
    }

    fn attributes(&self, service: &Service) -> Vec<KeyValue> {
        let (name, version) = match service {
            Service::Server { name, version } => (name, version.as_deref()),
            Service::Helper { name } => (name, None),
        };
        let mut all = vec![
            attribute("service.name", name.as_str()),
            attribute("telemetry.sdk.name", "mta-trace"),
            attribute("telemetry.sdk.language", "rust"),
            attribute("telemetry.sdk.version", self.tool.as_deref().unwrap_or(env!("CARGO_PKG_VERSION"))),
            attribute("os.type", "linux"),
        ];
        all.extend(version.map(|version| attribute("service.version", version)));
        all.extend(self.kernel.as_deref().map(|kernel| attribute("os.version", kernel)));
        let arch = self.arch.as_deref().map(|arch| match arch {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        });
        all.extend(arch.map(|arch| attribute("host.arch", arch)));
        all
    }
}

/// Sends a request; once more where the collector asks for that (OTLP specification, "Failures": 429, 502, 503, 504).
fn deliver(url: &Url, resolve: Resolve, body: &[u8]) -> Result<Response, String> {
    let send = || http::post(url, resolve, "application/x-protobuf", body);
    let mut answer = send()?;
    if matches!(answer.status, 429 | 502 | 503 | 504) {
        let pause_s = answer.retry_after_s.unwrap_or(1);
        if pause_s > MAX_RETRY_S {
            return Err(format!("{}; it asks to be tried again in {pause_s} s", refusal(&answer)));
        }
        std::thread::sleep(Duration::from_secs(pause_s));
        answer = send()?;
    }
    match answer.status {
        // An answer that is no protobuf was not asked for; the request was taken all the same.
        200..=299 => Ok(if answer.is_protobuf { Response::decode(answer.body.as_slice()).unwrap_or_default() } else { Response::default() }),
        _ => Err(refusal(&answer)),
    }
}

/// What a status says, and what to do about it.
fn refusal(answer: &Answer) -> String {
    let words =
        if answer.is_protobuf { Refusal::decode(answer.body.as_slice()).unwrap_or_default().message.into_bytes() } else { answer.body.clone() };
    let advice = match answer.status {
        301 | 302 | 307 | 308 => format!("; it is at {}", said(answer.location.as_deref().unwrap_or("another place").as_bytes())),
        401 | 403 => "; it wants to know who sends, which mta-trace does not tell".to_owned(),
        404 | 405 => "; name the collector's base URL: /v1/traces is added to it".to_owned(),
        413 => "; it does not take requests of this size".to_owned(),
        415 => "; it does not take OTLP as protobuf".to_owned(),
        429 | 502..=504 => "; it has too much to do, try again later".to_owned(),
        _ => String::new(),
    };
    let words = said(&words);
    let colon = if words.is_empty() { "" } else { ": " };
    format!("answered with HTTP status {}{colon}{words}{advice}", answer.status)
}

/// The beginning of somebody else's words, harmless.
fn said(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let short: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
    crate::view::escape::escape(&short).into_owned()
}

#[cfg(test)]
mod tests;
