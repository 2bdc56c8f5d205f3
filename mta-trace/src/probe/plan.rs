//! What is to be played: plain data between the command line and the dialogue.
//!
//! In: text of arguments. Out: [`Plan`]. Invariant: no line end or other control character gets into a line of the dialogue, and a
//! password has no `Debug` that shows it. Not here: in which order it is said (`dialogue.rs`).

use std::fmt;
use std::str::FromStr;

/// Longest address (RFC 5321, 4.5.3.1.3: 256 with its brackets).
const MAX_ADDRESS: usize = 254;
/// Longest domain (RFC 5321, 4.5.3.1.2).
const MAX_HELO: usize = 255;
/// How long a password may be, bytes; RFC 4616 allows any.
const MAX_PASSWORD: usize = 1024;

/// A session as it is wanted.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Name for EHLO.
    pub helo: String,
    /// Sender; empty is the null sender. None: the dialogue ends before MAIL.
    pub from: Option<Address>,
    /// Recipients.
    pub rcpts: Vec<Address>,
    /// Who authenticates.
    pub login: Option<Login>,
    /// Whether TLS is begun.
    pub starttls: bool,
    /// Whether commands are sent together where the server offers it.
    pub pipeline: bool,
    /// The message as it goes over the wire, with its final dot; none: the dialogue ends behind RCPT.
    pub message: Option<Vec<u8>>,
    /// After which reply it says QUIT.
    pub quit_after: Option<Stage>,
}

/// User and password.
#[derive(Clone, Debug)]
pub struct Login {
    /// Name.
    pub user: String,
    /// Password.
    pub password: Password,
}

/// Text that is never shown.
#[derive(Clone)]
pub struct Password(Vec<u8>);

impl Password {
    /// The first line of a file, as editors leave it.
    pub fn from_file(bytes: &[u8]) -> Result<Self, PlanError> {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // RFC 4616, 2: NUL separates the parts.
        if line.is_empty() || line.len() > MAX_PASSWORD || line.contains(&0) { Err(PlanError::Password) } else { Ok(Self(line.to_owned())) }
    }

    /// For the wire alone.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

/// A mail address without its brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address(String);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let inner = text.strip_prefix('<').and_then(|it| it.strip_suffix('>')).unwrap_or(text);
        let is_plain = inner.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'));
        if is_plain && inner.len() <= MAX_ADDRESS { Ok(Self(inner.to_owned())) } else { Err(PlanError::Address(text.to_owned())) }
    }
}

/// Whether a name can stand behind EHLO: a domain or an address literal.
pub fn check_helo(text: &str) -> Result<String, PlanError> {
    let is_plain = !text.is_empty() && text.len() <= MAX_HELO && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { Ok(text.to_owned()) } else { Err(PlanError::Helo(text.to_owned())) }
}

/// After which reply QUIT is said, as swaks calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The greeting.
    Connect,
    /// The first EHLO.
    FirstHelo,
    /// The TLS handshake.
    Tls,
    /// The last EHLO: inside TLS, if there is any.
    Helo,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// The last RCPT.
    Rcpt,
}

impl FromStr for Stage {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        match text.to_ascii_uppercase().as_str() {
            "CONNECT" | "BANNER" => Ok(Self::Connect),
            "FIRST-HELO" | "FIRST-EHLO" => Ok(Self::FirstHelo),
            "TLS" | "STARTTLS" => Ok(Self::Tls),
            "HELO" | "EHLO" => Ok(Self::Helo),
            "AUTH" => Ok(Self::Auth),
            "MAIL" | "FROM" => Ok(Self::Mail),
            "RCPT" | "TO" => Ok(Self::Rcpt),
            _ => Err(PlanError::Stage(text.to_owned())),
        }
    }
}

/// Why an argument cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// `--from`, `--rcpt`.
    #[error(
        "`{0}` cannot stand in a command; write an address of ASCII characters without blanks, such as a@example.com (or <> for the null sender)"
    )]
    Address(String),
    /// `--helo`.
    #[error("`{0}` cannot stand behind EHLO; write a name such as client.example.com, or [192.0.2.7]")]
    Helo(String),
    /// `--quit-after`.
    #[error("`{0}` is no stage of a session; write connect, first-helo, tls, helo, auth, mail or rcpt")]
    Stage(String),
    /// `--password-file`. What it holds is not repeated.
    #[error("its first line is no password of 1 to {MAX_PASSWORD} bytes without NUL; write the password alone into the file")]
    Password,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_cannot_bring_commands() {
        for (text, address) in [("a@example.com", "a@example.com"), ("<a@b>", "a@b"), ("<>", ""), ("", "")] {
            assert_eq!(text.parse(), Ok(Address(address.to_owned())), "{text}");
        }
        for text in ["a@b\r\nQUIT", "a b@c", "a>b", "<a", "bücher@example.com", "a\0", &"x".repeat(255)] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
        assert!(check_helo("client.lab.test").is_ok() && check_helo("[192.0.2.7]").is_ok());
        assert!(["", "a b", "a\r\n", "ä"].iter().all(|text| check_helo(text).is_err()));
    }

    #[test]
    fn a_password_is_the_first_line_and_never_shown() {
        let password = Password::from_file(b"se cret\r\nrest\n").expect("a password");
        assert_eq!(password.bytes(), b"se cret");
        assert_eq!(format!("{:?}", Login { user: "u".into(), password }), "Login { user: \"u\", password: (not shown) }");
        for bytes in [&b""[..], b"\nx", b"a\0b", &[b'x'; MAX_PASSWORD + 1]] {
            assert_eq!(Password::from_file(bytes).map(drop), Err(PlanError::Password));
        }
    }

    #[test]
    fn stages_in_the_words_of_swaks() {
        let read = |text: &str| text.parse::<Stage>();
        assert_eq!(
            ["banner", "STARTTLS", "ehlo", "From", "to"].map(|text| read(text).ok()),
            [Some(Stage::Connect), Some(Stage::Tls), Some(Stage::Helo), Some(Stage::Mail), Some(Stage::Rcpt)]
        );
        assert!(read("data").is_err());
    }
}
