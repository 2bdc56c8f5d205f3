//! The next hop: accepts every message on port 25 of the client's side and keeps none, as late as the scenario says.
//!
//! A delivery child that lives longer than its session has someone to talk to, and so has an MTA that asks whether an address
//! exists. Not an SMTP server for anything else.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::journal::{Journal, What};
use crate::netns::Netns;
use crate::scenario::Sink as Settings;
use crate::stop::Stop;

/// How late it is; not at all until the faults are installed.
#[derive(Debug, Clone, Default)]
pub struct Sink(Arc<RwLock<Settings>>);

impl Sink {
    /// Puts the scenario's faults in force.
    pub fn install(&self, ns: &Netns, settings: &Settings) -> Result<()> {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = settings.clone();
        if settings.is_dropped { ns.drop_packets(25) } else { Ok(()) }
    }

    fn delay(&self, of: impl FnOnce(&Settings) -> f64) -> Duration {
        Duration::from_secs_f64(of(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Listens until the lab ends.
pub fn serve(ns: &Netns, address: &str, journal: &Journal, stop: &Stop) -> Result<Sink> {
    let listener = ns.run(|| TcpListener::bind((address, 25)).context("bind the sink's port 25"))?;
    let (sink, journal, stop) = (Sink::default(), journal.clone(), stop.clone());
    let served = sink.clone();
    std::thread::spawn(move || {
        while stop.wait_readable(&listener) {
            let Ok((stream, _)) = listener.accept() else { continue };
            journal.note(What::Sink { event: "accept".to_owned() });
            let (sink, journal, stop) = (served.clone(), journal.clone(), stop.clone());
            std::thread::spawn(move || {
                // A next hop that hangs up is no error of the lab.
                let _ = converse(stream, &sink, &journal, &stop);
            });
        }
    });
    Ok(sink)
}

fn converse(mut stream: TcpStream, sink: &Sink, journal: &Journal, stop: &Stop) -> std::io::Result<()> {
    stop.pass(sink.delay(|settings| settings.greeting_s));
    journal.note(What::Sink { event: "answer".to_owned() });
    stream.write_all(b"220 sink.lab.test ESMTP\r\n")?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut is_data = false;
    loop {
        let mut line = String::new();
        let is_ready = !reader.buffer().is_empty() || stop.wait_readable(&stream);
        if !is_ready || reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        if is_data {
            if line == "." {
                is_data = false;
                stop.pass(sink.delay(|settings| settings.message_s));
                journal.note(What::Sink { event: "message".to_owned() });
                journal.note(What::Sink { event: "answer".to_owned() });
                stream.write_all(b"250 2.0.0 taken\r\n")?;
            }
            continue;
        }
        match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
            "DATA" => {
                is_data = true;
                stream.write_all(b"354 go on\r\n")?;
            }
            "QUIT" => return stream.write_all(b"221 2.0.0 bye\r\n"),
            verb => {
                if verb == "RCPT" {
                    stop.pass(sink.delay(|settings| settings.rcpt_s));
                }
                journal.note(What::Sink { event: "answer".to_owned() });
                stream.write_all(b"250 2.0.0 ok\r\n")?;
            }
        }
    }
}
