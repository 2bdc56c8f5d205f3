//! The head of a message between processes of one mail server (imsg, of OpenBSD's libutil).

use serde::{Deserialize, Serialize};

/// One message: `struct imsg_hdr`, and the id at the beginning of its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its type: numbers that change between releases.
    #[serde(rename = "type")]
    pub kind: u32,
    /// Its length with the head.
    pub len: u16,
    /// The number of a request, the same in its answer; 0: none.
    pub peer: u32,
    /// Who sent it.
    pub pid: u32,
    /// Its first eight bytes, in the form in which OpenSMTPD logs a session's id; 0: it has none.
    #[serde(with = "hexadecimal")]
    pub id: u64,
}

mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
    pub fn serialize<S: Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{id:016x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}
