//! Which bytes of an SMTP client may leave the process: an allow-list, shared so that it is tested in
//! user space as the very code that runs in the kernel.
//!
//! The scanner walks over the bytes of one `read(2)` and says for each byte whether it is kept. A line is
//! kept only when, after blanks and without case, it begins with a verb of RFC 5321 (or a common
//! extension); of `AUTH` the verb and the mechanism (RFC 4954). Until the verb is known its letters are
//! held back in the state. Of the replies to what was not kept only the codes are, since servers repeat what they do not understand
//! (`500 Command unrecognized: "..."`); to know which replies those are, lines and replies are counted, since a server that is sent
//! more may read on before it writes (sendmail does). Behind `AUTH`, `DATA`, `BDAT` and `STARTTLS` nothing is kept until the server has
//! replied to them. Of what the server writes only lines that begin with a reply code are kept (RFC 5321, 4.2).
//! Not here: the meaning of a line (`mta-trace/src/proto/smtp/`).

use crate::event::smtp_carry;

/// The state is not known (the session began before the trace): sizes only until a whole reply.
pub const MODE_UNKNOWN: u8 = 1;
/// Command lines are expected.
pub const MODE_COMMAND: u8 = 2;
/// A command after which the client's next bytes may be no command was read, its reply is outstanding: sizes only.
pub const MODE_PENDING: u8 = 3;
/// The last reply was a 334: sizes only.
pub const MODE_AUTH: u8 = 4;
/// The last reply was a 354: sizes only, and whether the final dot has been read.
pub const MODE_DATA: u8 = 5;
/// Inside TLS: sizes only, until the end.
pub const MODE_OPAQUE: u8 = 6;

/// Byte that stands for one that was not kept.
pub const WIPED: u8 = 0;

/// Where in a line the scanner is.
const START: u8 = 0;
const VERB: u8 = 1;
const KEEP: u8 = 2;
const SKIP: u8 = 3;
/// In the blanks between `AUTH` and the mechanism.
const AUTH_BLANKS: u8 = 4;
const AUTH_MECHANISM: u8 = 5;
/// Like KEEP; at the line's end the mode becomes PENDING.
const KEEP_THEN_PENDING: u8 = 6;
/// Behind the mechanism: the initial response. At the line's end the mode becomes PENDING.
const SKIP_THEN_PENDING: u8 = 7;
/// Like KEEP, in a MAIL line: looks out for the parameter ` AUTH=` (RFC 4954, 5), whose value is nobody's business.
/// `Scanner::held` counts how much of it matches.
const KEEP_MAIL: u8 = 8;
/// In the value of that parameter.
const SKIP_PARAMETER: u8 = 9;

/// State of the scanner over one session; value of the map `SESSIONS` of the kernel side, key socket inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Scanner {
    /// Letters of a verb that is not complete, as sent, newest in the low byte: the held-back beginning.
    pub letters: u64,
    /// Last four bytes of the message in `MODE_DATA`, newest in the low byte.
    pub tail: u32,
    /// Code of the reply line that the server is writing.
    pub code: u16,
    /// Bytes of that line so far, at most 4; then what kind of line it is, `COLUMN_*`.
    pub column: u8,
    /// How many letters are held (in `AUTH_MECHANISM`: how long the name is).
    pub held: u8,
    /// `MODE_*`.
    pub mode: u8,
    /// Where in the line.
    pub place: u8,
    /// 1: the last command was STARTTLS (a 220 opens TLS).
    pub starttls: u8,
    /// 1: the server has replied since the mode became what it is.
    pub replied: u8,
    /// 1: something outstanding, or the line that is half read, was not kept, so of the replies only the codes are.
    pub hush: u8,
    /// Lines that were read and not answered yet.
    pub outstanding: u8,
    /// 1: lines were read that were not counted, so that `outstanding` says nothing until the server waits for the client.
    pub blind: u8,
    /// 1: the last read in `MODE_DATA` completed the final dot.
    pub dot: u8,
}

/// `Scanner::column`: a line that goes on with another (`250-`).
const COLUMN_CONTINUED: u8 = 5;
/// `Scanner::column`: no reply line at all.
pub const COLUMN_NO_REPLY: u8 = 6;

/// What becomes of one byte of the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Fate {
    /// It may be copied.
    Keep,
    /// It is wiped.
    Wipe,
    /// It may be copied, and with it the `held` letters before it; then [`Scanner::released`].
    Release,
}

impl Scanner {
    /// A scanner in the given mode.
    #[must_use]
    pub const fn new(mode: u8) -> Self {
        // Of a session that had begun nobody knows what is outstanding.
        let is_blind = (mode == MODE_UNKNOWN) as u8;
        Self {
            letters: 0,
            tail: 0,
            code: 0,
            column: 0,
            held: 0,
            mode,
            place: START,
            starttls: 0,
            replied: 0,
            hush: is_blind,
            outstanding: 0,
            blind: is_blind,
            dot: 0,
        }
    }

    /// The server has waited for the client, so it has answered all that it had read (a line that is not complete excepted).
    #[inline(always)]
    pub fn waited(&mut self) {
        self.outstanding = 0;
        self.blind = 0;
        if self.mode == MODE_PENDING && self.replied == 1 {
            self.settle();
        }
        if self.place == START {
            self.hush = 0;
        }
    }

    /// Bytes went by unseen: sizes only, until the server has replied.
    #[inline(always)]
    pub fn lost(&mut self) {
        self.mode = MODE_UNKNOWN;
        self.place = START;
        self.unseen();
        self.released();
    }

    /// The client sent what was not looked at: how many lines, and what the server makes of them, is not known.
    #[inline(always)]
    pub fn unseen(&mut self) {
        self.blind = 1;
        self.hush = 1;
    }

    /// Takes the next byte of the client. In any mode but `MODE_COMMAND` everything is wiped, and lines are counted.
    #[inline(always)]
    pub fn step(&mut self, byte: u8) -> Fate {
        if self.mode != MODE_COMMAND {
            self.hush = 1;
            if byte == b'\n' {
                self.line();
            }
            return Fate::Wipe;
        }
        if byte == b'\n' {
            return self.end_of_line();
        }
        let is_blank = byte == b' ' || byte == b'\t';
        let place = self.place;
        if place == START && is_blank || place == KEEP || place == KEEP_THEN_PENDING || place == AUTH_BLANKS && is_blank {
            return Fate::Keep;
        }
        if place == START || place == VERB {
            return self.letter(byte);
        }
        if place == KEEP_MAIL {
            return self.mail(byte);
        }
        if place == SKIP_PARAMETER && is_blank {
            self.place = KEEP_MAIL;
            self.held = 1;
            return Fate::Keep;
        }
        if (place == AUTH_BLANKS || place == AUTH_MECHANISM) && self.held < 20 && is_mechanism(byte) {
            self.held += 1;
            self.place = AUTH_MECHANISM;
            return Fate::Keep;
        }
        if place == AUTH_BLANKS || place == AUTH_MECHANISM {
            self.place = SKIP_THEN_PENDING;
        }
        self.hush = 1;
        if byte == b'\r' { Fate::Keep } else { Fate::Wipe }
    }

    /// A whole line was read that will be answered.
    #[inline(always)]
    fn line(&mut self) {
        if self.outstanding == u8::MAX {
            self.blind = 1;
        } else {
            self.outstanding += 1;
        }
    }

    /// The held letters were written out, or are none.
    #[inline(always)]
    pub fn released(&mut self) {
        // The blank behind `MAIL` is the first of ` AUTH=`.
        self.held = (self.place == KEEP_MAIL) as u8;
        self.letters = 0;
    }

    #[inline(always)]
    fn letter(&mut self, byte: u8) -> Fate {
        if is_letter(byte) && self.held < 8 {
            self.letters = self.letters << 8 | byte as u64;
            self.held += 1;
            self.place = VERB;
            return Fate::Wipe;
        }
        if (byte == b' ' || byte == b'\t' || byte == b'\r') && is_verb(self.letters) {
            self.place = self.place_after_verb();
            if byte == b'\r' && self.place == AUTH_BLANKS {
                // What follows is no mechanism.
                self.place = SKIP_THEN_PENDING;
            }
            return Fate::Release;
        }
        self.place = SKIP;
        self.hush = 1;
        self.released();
        if byte == b'\r' { Fate::Keep } else { Fate::Wipe }
    }

    #[inline(always)]
    fn mail(&mut self, byte: u8) -> Fate {
        let upper = if is_letter(byte) { byte & 0xdf } else { byte };
        let wanted = match self.held {
            0 => b' ',
            1 => b'A',
            2 => b'U',
            3 => b'T',
            4 => b'H',
            _ => b'=',
        };
        if upper == wanted || self.held == 0 && byte == b'\t' {
            self.held += 1;
        } else {
            self.held = if byte == b' ' || byte == b'\t' { 1 } else { 0 };
        }
        if self.held == 6 {
            self.held = 0;
            self.place = SKIP_PARAMETER;
        }
        Fate::Keep
    }

    #[inline(always)]
    fn end_of_line(&mut self) -> Fate {
        // A bare LF ends a line too: sendmail takes it.
        let ends_verb = self.place == VERB && is_verb(self.letters);
        let place = if ends_verb { self.place_after_verb() } else { self.place };
        if place == KEEP_THEN_PENDING || place == SKIP_THEN_PENDING || place == AUTH_BLANKS || place == AUTH_MECHANISM {
            self.mode = MODE_PENDING;
            self.replied = 0;
        }
        self.line();
        self.place = START;
        if ends_verb {
            return Fate::Release;
        }
        if self.held > 0 && place == VERB {
            // A word that is no verb, and nothing else.
            self.hush = 1;
        }
        self.released();
        Fate::Keep
    }

    #[inline(always)]
    fn place_after_verb(&mut self) -> u8 {
        let verb = self.letters & UPPER;
        if verb == pack("STARTTLS") {
            self.starttls = 1;
        }
        if verb == pack("AUTH") {
            // Its challenges and errors may repeat what is nobody's business.
            self.hush = 1;
            AUTH_BLANKS
        } else if verb == pack("DATA") || verb == pack("BDAT") || verb == pack("STARTTLS") {
            KEEP_THEN_PENDING
        } else if verb == pack("MAIL") {
            KEEP_MAIL
        } else {
            KEEP
        }
    }

    /// Takes the last bytes (at most four, newest in the low byte) of a read of `n` bytes in `MODE_DATA`.
    /// True: they complete the final dot.
    #[inline(always)]
    pub fn data(&mut self, last: u32, n: u64) -> bool {
        self.tail = if n >= 4 { last } else { self.tail << (8 * (n as u32 & 3)) | last };
        let is_dot = self.tail == DOT_CRLF || self.tail & 0x00ff_ffff == DOT_LF;
        self.dot = is_dot as u8;
        self.outstanding = is_dot as u8;
        is_dot
    }

    /// Takes the next byte that the server writes. True: a line ended that is the last of its reply.
    #[inline(always)]
    pub fn reply_byte(&mut self, byte: u8) -> bool {
        if byte == b'\n' {
            let is_last = self.column == 4 || self.column == 3;
            self.column = 0;
            return is_last;
        }
        match self.column {
            0 if byte.is_ascii_digit() => self.code = u16::from(byte - b'0'),
            1 | 2 if byte.is_ascii_digit() => self.code = (self.code & 127) * 10 + u16::from(byte - b'0'),
            3 if byte == b' ' || byte == b'\r' => {}
            3 if byte == b'-' => {
                self.column = COLUMN_CONTINUED;
                return false;
            }
            0..=3 => {
                self.column = COLUMN_NO_REPLY;
                return false;
            }
            _ => return false,
        }
        self.column += 1;
        false
    }

    /// Whether the byte that the server is about to write must not be kept, because of the line in which it stands.
    #[inline(always)]
    #[must_use]
    pub fn is_hushed(&self, byte: u8) -> bool {
        if byte == b'\r' || byte == b'\n' {
            return false;
        }
        match self.column {
            0..=2 => !byte.is_ascii_digit(),
            3 => byte != b' ' && byte != b'-',
            COLUMN_NO_REPLY => true,
            _ => self.hush == 1,
        }
    }

    /// The server wrote a whole reply; `code` is that of its last line (RFC 5321, 4.2).
    #[inline(always)]
    pub fn reply(&mut self) {
        if self.mode == MODE_OPAQUE {
            return;
        }
        if self.mode == MODE_DATA && self.dot == 0 && self.code != 354 {
            // The message is over, and its end was not the end of a read: commands may have stood behind it.
            self.unseen();
        }
        self.replied = 1;
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.mode == MODE_PENDING && self.outstanding > 0 {
            // The answer to an earlier line of the same batch.
            return;
        }
        self.settle();
        if self.outstanding == 0 && self.blind == 0 && self.place == START {
            self.hush = 0;
        }
    }

    /// The last reply decides what is expected of the client.
    #[inline(always)]
    fn settle(&mut self) {
        self.mode = match self.code {
            334 => MODE_AUTH,
            354 => MODE_DATA,
            220 if self.starttls == 1 => MODE_OPAQUE,
            _ => MODE_COMMAND,
        };
        self.starttls = 0;
        self.tail = b'\n' as u32;
        self.dot = 0;
        // A line that is half read stays so: its end is no beginning of another.
        if self.mode != MODE_COMMAND {
            self.place = START;
            self.released();
        }
    }
}

const DOT_CRLF: u32 = u32::from_be_bytes(*b"\n.\r\n");
const DOT_LF: u32 = u32::from_be_bytes(*b"\0\n.\n");
/// Makes ASCII letters upper case.
const UPPER: u64 = 0xdfdf_dfdf_dfdf_dfdf;

#[inline(always)]
fn is_letter(byte: u8) -> bool {
    let upper = byte & 0xdf;
    upper >= b'A' && upper <= b'Z' && byte >= b'A'
}

/// RFC 4422: 1 to 20 letters, digits, hyphens and underscores.
#[inline(always)]
fn is_mechanism(byte: u8) -> bool {
    is_letter(byte) || (byte >= b'0' && byte <= b'9') || byte == b'-' || byte == b'_'
}

const fn pack(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut packed = 0;
    let mut i = 0;
    while i < bytes.len() {
        packed = packed << 8 | bytes[i] as u64;
        i += 1;
    }
    packed
}

/// Whether these packed letters are a verb whose line may be copied.
#[inline(always)]
#[must_use]
pub fn is_verb(letters: u64) -> bool {
    let verb = letters & UPPER;
    verb == pack("HELO")
        || verb == pack("EHLO")
        || verb == pack("LHLO")
        || verb == pack("AUTH")
        || verb == pack("STARTTLS")
        || verb == pack("MAIL")
        || verb == pack("RCPT")
        || verb == pack("DATA")
        || verb == pack("BDAT")
        || verb == pack("RSET")
        || verb == pack("NOOP")
        || verb == pack("VRFY")
        || verb == pack("EXPN")
        || verb == pack("HELP")
        || verb == pack("ETRN")
        || verb == pack("QUIT")
        || verb == pack("XCLIENT")
        || verb == pack("XFORWARD")
}

const _: () = assert!(smtp_carry::LEN >= 8 && size_of::<Scanner>() == 24);

#[cfg(test)]
#[path = "smtp_tests.rs"]
mod tests;
