//! What the user asked to trace: plain data between the command line and the loader.
//!
//! In: text of arguments. Out: [`AttachOptions`]. Not here: how arguments are parsed from argv (`cli/`), how a
//! target is found (`kernel/`).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    str::FromStr,
};

/// Size of the ring in bytes: what some 200 sessions tell. It is mapped twice, so it counts twice in the memory of this process.
pub const RING_BYTES: u32 = 4 * 1024 * 1024;

/// A selection of what to trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// The daemon, or one child that serves a session.
    pub pid: Option<u32>,
    /// Port on which it listens.
    pub port: Option<u16>,
    /// Name of the mail server (`sendmail`).
    pub mta: Option<String>,
    /// Peers whose sessions are wanted; empty: all.
    pub clients: Vec<Cidr>,
    /// Sessions that are running already are wanted too.
    pub existing: bool,
    /// Waits below this are only summed up.
    pub min_wait_ns: u64,
    /// Processes on this machine for which a session waits are traced too, while it does.
    pub chains: bool,
    /// What tells of completed system calls.
    pub hooks: Hooks,
    /// Size of the ring in bytes, a power of two; none: [`RING_BYTES`].
    pub ring_bytes: Option<u32>,
    /// Where every record of the ring is written as it is (length as 32-bit little-endian number, bytes): for the
    /// tests that look for secrets.
    pub ring_dump: Option<PathBuf>,
}

/// What tells of completed system calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hooks {
    /// `fentry` where the kernel attaches it, else the tracepoint.
    #[default]
    Auto,
    /// A program on the function of each hooked call: others pay nothing for the rest.
    Fentry,
    /// One program on the tracepoint of all calls.
    Tracepoint,
}

/// Addresses with a common prefix. An IPv4-mapped IPv6 prefix is kept as IPv4, since that is how peers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no [`Cidr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// The part before the slash.
    #[error("`{0}` is no IPv4 or IPv6 address; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")]
    Address(String),
    /// The part behind the slash.
    #[error("`{text}` is no prefix length; behind the slash of {family} stands a number from 0 to {max}")]
    Prefix {
        /// What was written.
        text: String,
        /// Which family the address is of.
        family: &'static str,
        /// Longest prefix.
        max: u8,
    },
    /// Bits behind the prefix are set: probably a slip of the pen.
    #[error("{address}/{prefix} has bits set behind its prefix; write {network}/{prefix} for the network or {address} for the one address")]
    HostBits {
        /// What was written.
        address: IpAddr,
        /// How long the prefix is.
        prefix: u8,
        /// The address with these bits cleared.
        network: IpAddr,
    },
}

impl Cidr {
    /// First address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Length of the prefix in bits: at most 32 for IPv4, 128 for IPv6.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the address lies inside; a mapped address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(it)) => network == mask4(it, self.prefix),
            (IpAddr::V6(network), IpAddr::V6(it)) => network == mask6(it, self.prefix),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn mask4(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn mask6(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address_text, prefix_text) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address_text.parse().map_err(|_| CidrError::Address(address_text.to_owned()))?;
        let (family, max) = if written.is_ipv4() { ("IPv4", 32) } else { ("IPv6", 128) };
        let written_prefix = match prefix_text {
            None => max,
            Some(text) => text
                .parse::<u8>()
                .ok()
                .filter(|prefix| *prefix <= max && text.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or_else(|| CidrError::Prefix { text: text.to_owned(), family, max })?,
        };
        let network = match written {
            IpAddr::V4(it) => IpAddr::V4(mask4(it, written_prefix)),
            IpAddr::V6(it) => IpAddr::V6(mask6(it, written_prefix)),
        };
        if network != written {
            return Err(CidrError::HostBits { address: written, prefix: written_prefix, network });
        }
        // ::ffff:192.0.2.0/120 is 192.0.2.0/24; a shorter prefix holds more than mapped addresses and stays IPv6.
        match written.to_canonical() {
            IpAddr::V4(it) if written.is_ipv6() && written_prefix >= 96 => Ok(Self { address: IpAddr::V4(it), prefix: written_prefix - 96 }),
            IpAddr::V4(_) | IpAddr::V6(_) => Ok(Self { address: written, prefix: written_prefix }),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        if self.prefix == whole { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect(text)
    }

    #[test]
    fn single_addresses_and_networks() {
        for (text, inside, outside) in [
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "fe80::1", "192.0.2.1"),
            ("::1", "::1", "::2"),
            ("::ffff:192.0.2.0/120", "192.0.2.77", "192.0.3.1"),
            ("192.0.2.0/24", "::ffff:192.0.2.77", "::ffff:192.0.3.1"),
        ] {
            assert!(cidr(text).contains(inside.parse().expect("in a test")), "{text} has {inside}");
            assert!(!cidr(text).contains(outside.parse().expect("in a test")), "{text} has not {outside}");
        }
    }

    #[test]
    fn shown_as_written() {
        for text in ["10.0.0.1", "10.0.0.0/8", "2001:db8::/32", "::1", "::/0", "0.0.0.0/0"] {
            assert_eq!(cidr(text).to_string(), text);
        }
        assert_eq!(cidr("::ffff:192.0.2.0/120").to_string(), "192.0.2.0/24");
        assert_eq!(cidr("10.0.0.1/32").to_string(), "10.0.0.1");
    }

    #[test]
    fn what_is_none_says_why() {
        for (text, part) in [
            ("", "is no IPv4 or IPv6 address"),
            ("10.0.0", "`10.0.0` is no IPv4"),
            ("mail.example.com", "write 192.0.2.7"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.0/", "`` is no prefix length"),
            ("10.0.0.0/+8", "`+8` is no prefix"),
            ("2001:db8::/129", "from 0 to 128"),
            ("10.0.0.1/8", "write 10.0.0.0/8 for the network or 10.0.0.1"),
            ("10.0.0.1:25", "`10.0.0.1:25` is no"),
        ] {
            let error = text.parse::<Cidr>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
