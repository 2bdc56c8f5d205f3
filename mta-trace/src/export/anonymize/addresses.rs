//! Addresses that stand for others: numbered as they appear, in ranges that nobody has.
//!
//! 198.18.0.0/16 for private ones, 198.19.0.0/16 for others (RFC 2544), 240.0.0.0/4 where these are used up (RFC 1112, reserved); `2001:db8::/32`
//! (RFC 3849) and `fe80::/64`. Invariant: what is in one /24 (IPv6: one /64) stays in one; loopback and "any" stay what they are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Stand for all that come when no more are kept.
pub const OTHER_V4: Ipv4Addr = Ipv4Addr::new(198, 19, 255, 255);
/// See [`OTHER_V4`].
pub const OTHER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff);

/// Networks that 198.18.0.0/16 and 198.19.0.0/16 have, but for the one of [`OTHER_V4`].
const NETS_V4: u32 = 255;
/// Networks of 240.0.0.0/4, but for the last, which has the broadcast address.
const NETS_OVERFLOW: u32 = (1 << 20) - 1;
/// Networks of `2001:db8::/33` and of the other half.
const NETS_V6: u32 = 1 << 31;

/// The addresses of a file.
#[derive(Debug, Default)]
pub struct Addresses {
    v4: HashMap<Ipv4Addr, Ipv4Addr>,
    nets_v4: HashMap<[u8; 3], Net>,
    v6: HashMap<Ipv6Addr, Ipv6Addr>,
    nets_v6: HashMap<u64, Net>,
    /// Networks so far: private, others, those that found no room; the same of IPv6: local, others.
    counts: [u32; 5],
}

/// A network: its number among those of its kind, and its addresses so far.
#[derive(Clone, Copy, Debug)]
struct Net {
    base: u32,
    hosts: u32,
}

impl Addresses {
    /// How many entries it keeps.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len() + self.nets_v4.len() + self.nets_v6.len()
    }

    /// The address that stands for this one; `is_full`: no new one is kept.
    pub fn stand_in(&mut self, address: IpAddr, is_full: bool) -> IpAddr {
        match address {
            IpAddr::V4(v4) => IpAddr::V4(self.v4(v4, is_full)),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => IpAddr::V6(self.v4(v4, is_full).to_ipv6_mapped()),
                None => IpAddr::V6(self.v6(v6, is_full)),
            },
        }
    }

    fn v4(&mut self, address: Ipv4Addr, is_full: bool) -> Ipv4Addr {
        if address.is_loopback() || address.is_unspecified() || address.is_broadcast() {
            return address;
        }
        if let Some(known) = self.v4.get(&address) {
            return *known;
        }
        if is_full {
            return OTHER_V4;
        }
        let [a, b, c, _] = address.octets();
        if !self.nets_v4.contains_key(&[a, b, c]) {
            let Some(base) = self.new_net_v4(address.is_private() || address.is_link_local()) else { return OTHER_V4 };
            self.nets_v4.insert([a, b, c], Net { base, hosts: 0 });
        }
        let Some(net) = self.nets_v4.get_mut(&[a, b, c]) else { return OTHER_V4 };
        net.hosts += 1;
        // A /24 has 256: from 1 to 255, then 0.
        let new = Ipv4Addr::from_bits(net.base | (net.hosts & 0xff));
        self.v4.insert(address, new);
        new
    }

    fn new_net_v4(&mut self, is_private: bool) -> Option<u32> {
        let [private, public, overflow, ..] = &mut self.counts;
        let (count, range) = if is_private { (private, 0xc612_0000) } else { (public, 0xc613_0000) };
        if *count < NETS_V4 {
            *count += 1;
            return Some(range | ((*count - 1) << 8));
        }
        *overflow += 1;
        (*overflow <= NETS_OVERFLOW).then(|| 0xf000_0000 | ((*overflow - 1) << 8))
    }

    fn v6(&mut self, address: Ipv6Addr, is_full: bool) -> Ipv6Addr {
        if address.is_loopback() || address.is_unspecified() {
            return address;
        }
        if let Some(known) = self.v6.get(&address) {
            return *known;
        }
        if is_full {
            return OTHER_V6;
        }
        let prefix = u64::try_from(address.to_bits() >> 64).unwrap_or(0);
        let is_link_local = address.is_unicast_link_local();
        // All of the link share one network, whatever its zeros are.
        let key = if is_link_local { 0xfe80_u64 << 48 } else { prefix };
        let base = match self.nets_v6.get(&key) {
            Some(net) => net.base,
            None if is_link_local => 0,
            None => {
                let [.., local, other] = &mut self.counts;
                let is_local = address.is_unique_local();
                let count = if is_local { local } else { other };
                if *count >= NETS_V6 - 1 {
                    return OTHER_V6;
                }
                *count += 1;
                (*count - 1) | if is_local { NETS_V6 } else { 0 }
            }
        };
        let net = self.nets_v6.entry(key).or_insert(Net { base, hosts: 0 });
        net.hosts = net.hosts.saturating_add(1);
        let range = if is_link_local { 0xfe80_u128 << 112 } else { 0x2001_0db8_u128 << 96 | u128::from(net.base) << 64 };
        let new = Ipv6Addr::from_bits(range | u128::from(net.hosts));
        self.v6.insert(address, new);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(addresses: &mut Addresses, text: &str) -> String {
        addresses.stand_in(text.parse().expect("address"), false).to_string()
    }

    #[test]
    fn family_and_kind_stay() {
        let mut it = Addresses::default();
        let new: Vec<String> = [
            "10.0.0.7",
            "10.0.0.9",
            "192.168.1.1",
            "8.8.8.8",
            "8.8.4.4",
            "8.8.8.9",
            "127.0.0.53",
            "0.0.0.0",
            "10.0.0.7",
            "::1",
            "::",
            "2a00:1::5",
            "2a00:1::6",
            "2a00:2::5",
            "fd00::1",
            "fe80::1234:56ff:fe78:9abc",
            "fe80::2",
            "::ffff:10.0.0.7",
        ]
        .iter()
        .map(|text| map(&mut it, text))
        .collect();
        assert_eq!(
            new,
            [
                "198.18.0.1",
                "198.18.0.2",
                "198.18.1.1",
                "198.19.0.1",
                "198.19.1.1",
                "198.19.0.2",
                "127.0.0.53",
                "0.0.0.0",
                "198.18.0.1",
                "::1",
                "::",
                "2001:db8::1",
                "2001:db8::2",
                "2001:db8:0:1::1",
                "2001:db8:8000::1",
                "fe80::1",
                "fe80::2",
                "::ffff:198.18.0.1",
            ]
        );
    }

    #[test]
    fn many_networks_go_on_in_a_reserved_range() {
        let mut it = Addresses::default();
        let all: Vec<IpAddr> = (0..300_u32).map(|n| it.stand_in(IpAddr::V4(Ipv4Addr::from_bits(0x0800_0001 | n << 8)), false)).collect();
        assert_eq!(
            (all[254].to_string(), all[255].to_string(), all[299].to_string()),
            ("198.19.254.1".into(), "240.0.0.1".into(), "240.0.44.1".into())
        );
        assert_eq!(it.stand_in(IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)), true), IpAddr::V4(OTHER_V4));
        assert_eq!(it.stand_in(IpAddr::V4(Ipv4Addr::new(8, 0, 0, 1)), true), all[0]);
    }

    /// Few networks with many addresses, and any address.
    fn v4() -> impl Strategy<Value = Ipv4Addr> {
        prop_oneof![
            (any::<[u8; 2]>(), any::<u8>()).prop_map(|([c, d], few)| Ipv4Addr::new(10, few & 1, c & 3, d)),
            any::<u32>().prop_map(Ipv4Addr::from_bits)
        ]
    }

    /// See [`v4`].
    fn v6() -> impl Strategy<Value = Ipv6Addr> {
        prop_oneof![
            (any::<[u16; 2]>(), any::<u16>()).prop_map(|([c, d], few)| Ipv6Addr::new(0xfd00, few & 1, 0, c & 3, 0, 0, 0, d)),
            any::<u128>().prop_map(Ipv6Addr::from_bits)
        ]
    }

    /// What stays together: a /24, a /64, all that is link-local.
    fn network(address: IpAddr) -> (bool, u128) {
        match address {
            IpAddr::V4(v4) => (true, u128::from(v4.to_bits() >> 8)),
            IpAddr::V6(v6) if v6.is_unicast_link_local() => (false, 0xfe80 << 48),
            IpAddr::V6(v6) => (false, v6.to_bits() >> 64),
        }
    }

    proptest! {
        #[test]
        fn different_ones_stay_different_and_networks_together(
            four in proptest::collection::btree_set(v4(), 0..400),
            six in proptest::collection::btree_set(v6(), 0..100),
        ) {
            let originals: Vec<IpAddr> = four.into_iter().map(IpAddr::V4).chain(six.into_iter().map(IpAddr::V6)).collect();
            let mut it = Addresses::default();
            let new: Vec<IpAddr> = originals.iter().map(|address| it.stand_in(*address, false)).collect();
            prop_assert_eq!(new.iter().collect::<std::collections::BTreeSet<_>>().len(), originals.len());
            let mut networks = HashMap::new();
            for (original, new) in originals.iter().zip(&new) {
                prop_assert_eq!(it.stand_in(*original, true), *new);
                // Loopback, "any" and broadcast leave their networks alone.
                if original == new {
                    continue;
                }
                prop_assert_eq!((new.is_ipv4(), new.is_loopback()), (original.is_ipv4(), original.is_loopback()));
                prop_assert_eq!(*networks.entry(network(*original)).or_insert(network(*new)), network(*new));
            }
        }
    }
}
