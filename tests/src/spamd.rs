//! A spamd that answers late and likes every message. What it is sent it reads to the end and forgets.
//!
//! ```text
//! request = "REPORT SPAMC/1.2" CRLF headers CRLF message EOF      reply = "SPAMD/1.1 0 EX_OK" CRLF headers CRLF report EOF
//! ```

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::journal::{Journal, What};
use crate::netns::Netns;
use crate::scenario::Spamd;
use crate::stop::Stop;

/// Its own.
const PORT: u16 = 783;

const REPLY: &[u8] = b"SPAMD/1.1 0 EX_OK\r\nContent-length: 6\r\nSpam: False ; 0.1 / 5.0\r\n\r\nfine\r\n";

/// Serves until the lab ends.
pub fn serve(ns: &Netns, address: &str, scenario: &Spamd, journal: &Journal, stop: &Stop) -> Result<()> {
    let listener = ns.run(|| TcpListener::bind((address, PORT)).context("bind spamd's port"))?;
    let (delay, journal, stop) = (Duration::from_secs_f64(scenario.delay_s), journal.clone(), stop.clone());
    std::thread::spawn(move || {
        while stop.wait_readable(&listener) {
            let Ok((stream, _)) = listener.accept() else { continue };
            journal.note(What::FilterAccept);
            let (journal, stop) = (journal.clone(), stop.clone());
            // A mail server that hangs up is no error of the lab.
            std::thread::spawn(move || drop(converse(stream, delay, &journal, &stop)));
        }
    });
    Ok(())
}

fn converse(mut stream: TcpStream, delay: Duration, journal: &Journal, stop: &Stop) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    while stop.wait_readable(&stream) && stream.read(&mut buffer)? > 0 {}
    if stop.pass(delay) {
        journal.note(What::FilterReply);
        stream.write_all(REPLY)?;
    }
    Ok(())
}
