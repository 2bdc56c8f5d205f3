//! The far end of a connection, and what identifies a socket.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// An address: `ADDR:PORT` (IPv6 in brackets) or a unix path (abstract names begin with `@`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// IPv4 or IPv6 with port. An IPv4-mapped address is written as IPv4.
    Inet(SocketAddr),
    /// Unix path, as the process gave it.
    Unix(String),
}

impl Endpoint {
    /// The address without its port, of an internet address.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(addr) => Some(addr.ip()),
            Self::Unix(_) => None,
        }
    }

    /// The port, of an internet address.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(addr) => Some(addr.port()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr) => addr.fmt(f),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

impl FromStr for Endpoint {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Unix(text.to_owned()), Self::Inet))
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let Ok(endpoint) = text.parse();
        Ok(endpoint)
    }
}

/// Kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// `SOCK_STREAM` over IP.
    Tcp,
    /// `SOCK_DGRAM` over IP.
    Udp,
    /// Any unix socket.
    Unix,
    /// Anything else (netlink, raw).
    Other,
}

/// What identifies a socket whoever holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketId {
    /// Inode number in sockfs.
    pub inode: u64,
    /// Kind.
    pub proto: Proto,
    /// Local address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<Endpoint>,
    /// Peer (in a seed; an event carries it beside the socket).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Endpoint>,
    /// Of a connected unix socket: inode of the socket at the other end, which tells who holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_inode: Option<u64>,
}
