//! The next hop: accepts every message on port 25 of the client's side and keeps none.
//!
//! A delivery child that lives longer than its session has someone to talk to. Not an SMTP server for anything else.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};

use crate::journal::{Journal, What};
use crate::netns::Netns;
use crate::stop::Stop;

/// Listens until the lab ends.
pub fn serve(ns: &Netns, address: &str, journal: &Journal, stop: &Stop) -> Result<()> {
    let listener = ns.run(|| TcpListener::bind((address, 25)).context("bind the sink's port 25"))?;
    let (journal, stop) = (journal.clone(), stop.clone());
    std::thread::spawn(move || {
        while stop.wait_readable(&listener) {
            let Ok((stream, _)) = listener.accept() else { continue };
            journal.note(What::Sink { event: "accept".to_owned() });
            let (journal, stop) = (journal.clone(), stop.clone());
            std::thread::spawn(move || {
                // A next hop that hangs up is no error of the lab.
                let _ = converse(stream, &journal, &stop);
            });
        }
    });
    Ok(())
}

fn converse(mut stream: TcpStream, journal: &Journal, stop: &Stop) -> std::io::Result<()> {
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
                journal.note(What::Sink { event: "message".to_owned() });
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
            _ => stream.write_all(b"250 2.0.0 ok\r\n")?,
        }
    }
}
