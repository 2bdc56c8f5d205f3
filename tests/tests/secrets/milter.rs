//! A message that goes through helpers, of which no piece may be kept.

use crate::{
    play::{Kept, LIMIT, read_reply},
    search::records,
};
use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lab::{Lab, scenario::Scenario};
use std::{
    io::{BufReader, Write as _},
    path::Path,
};

/// Four letters that stand nowhere but in the message, again and again: any five bytes of it hold them in one of four orders.
const PATTERN: &str = "QZXJ";

/// A message that goes through `cleanup` and a milter, both of which were taken in because an earlier message of the session waited for them. Gives
/// where a piece of it was found.
pub fn message_through_a_milter(binary: &Path, dir: &Path) -> Result<Vec<String>> {
    let scenario = Scenario::named("postfix-milter-opendkim")?;
    let lab = Lab::up_in(&scenario, &dir.join("lab"))?;
    lab.install_faults()?;
    let kept = Kept::attach(binary, lab.daemon_pid(), &dir.join("daemon"))?;
    let stream = lab.connect()?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    read_reply(&mut reader, 220)?;
    let mut say = |text: &[u8], code| {
        (&stream).write_all(text)?;
        read_reply(&mut reader, code)
    };
    say(b"HELO client.lab.test\r\n", 250)?;
    let signed = scenario.dialogue.iter().find_map(|step| step.body.clone()).context("the scenario has a message")?;
    let secret = format!("From: <a@example.com>\nSubject: {0}\n\n{1}", PATTERN.repeat(10), format!("{}\n", PATTERN.repeat(15)).repeat(5000));
    for message in [signed, secret] {
        say(b"MAIL FROM:<a@example.com>\r\n", 250)?;
        say(b"RCPT TO:<b@example.net>\r\n", 250)?;
        say(b"DATA\r\n", 354)?;
        say(format!("{}\r\n.\r\n", message.trim_end().replace('\n', "\r\n")).as_bytes(), 250)?;
    }
    say(b"QUIT\r\n", 221)?;
    drop((stream, reader));
    let outputs = kept.stop()?;
    let log = outputs.iter().find(|(name, _)| *name == "log").map_or(&[][..], |(_, log)| log);
    let helpers: Vec<String> = records(log).filter(|record| record["k"] == "helper").map(|record| record["comm"].to_string()).collect();
    for wanted in ["cleanup", "opendkim"] {
        ensure!(helpers.iter().any(|comm| comm.contains(wanted)), "{wanted} was not taken in: {helpers:?}");
    }
    let data: Vec<u8> = records(log).flat_map(|record| STANDARD.decode(record["data"].as_str().unwrap_or_default()).unwrap_or_default()).collect();
    let everywhere = outputs.iter().map(|(name, bytes)| (*name, bytes.as_slice())).chain([("the log's data", data.as_slice())]);
    let orders: Vec<Vec<u8>> = (0..PATTERN.len()).map(|at| PATTERN.repeat(2).bytes().skip(at).take(PATTERN.len()).collect()).collect();
    let has_piece = |bytes: &[u8]| orders.iter().any(|order| bytes.windows(order.len()).any(|window| window == order));
    Ok(everywhere.filter(|(_, bytes)| has_piece(bytes)).map(|(name, _)| name.to_owned()).collect())
}
