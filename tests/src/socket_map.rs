//! A server of sendmail's socket maps that answers late. It knows no key: every answer is `NOTFOUND`.
//!
//! ```text
//! request = length ":" map " " key ","      reply = length ":" "OK " value | "NOTFOUND " ","
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::journal::{Journal, What};
use crate::netns::Netns;
use crate::scenario::SocketMap;
use crate::stop::Stop;

/// Its port.
const PORT: u16 = 8892;

/// Serves until the lab ends.
pub fn serve(ns: &Netns, address: &str, scenario: &SocketMap, journal: &Journal, stop: &Stop) -> Result<()> {
    let listener = ns.run(|| TcpListener::bind((address, PORT)).context("bind the socket map's port"))?;
    let (delay, journal, stop) = (Duration::from_secs_f64(scenario.delay_s), journal.clone(), stop.clone());
    std::thread::spawn(move || {
        while stop.wait_readable(&listener) {
            let Ok((stream, _)) = listener.accept() else { continue };
            let (journal, stop) = (journal.clone(), stop.clone());
            // A mail server that hangs up is no error of the lab.
            std::thread::spawn(move || drop(converse(stream, delay, &journal, &stop)));
        }
    });
    Ok(())
}

fn converse(stream: TcpStream, delay: Duration, journal: &Journal, stop: &Stop) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while stop.wait_readable(reader.get_ref()) {
        let mut len = Vec::new();
        if reader.read_until(b':', &mut len)? == 0 {
            return Ok(());
        }
        let len: usize = String::from_utf8_lossy(&len).trim_end_matches(':').parse().map_err(|_| std::io::ErrorKind::InvalidData)?;
        // With its comma.
        let mut request = vec![0; len + 1];
        reader.read_exact(&mut request)?;
        request.pop();
        journal.note(What::MapQuery { request: String::from_utf8_lossy(&request).into_owned() });
        if !stop.pass(delay) {
            return Ok(());
        }
        journal.note(What::MapReply);
        writer.write_all(b"9:NOTFOUND ,")?;
    }
    Ok(())
}
