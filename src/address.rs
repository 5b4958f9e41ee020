//! Which addresses are public: the one guard that keeps origins and upstreams out of the network that
//! larder stands in. Knows the registries of special-purpose addresses (RFC 6890 and what updates it) and
//! no socket: who looks a name up asks here about every address that it has.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Blocks of IPv4 and whether anybody on the Internet reaches them; the first that fits decides.
const V4: [(Ipv4Addr, u32, bool); 21] = [
    // Anycast for everybody inside a block that is nobody's.
    (Ipv4Addr::new(192, 0, 0, 9), 32, true),
    (Ipv4Addr::new(192, 0, 0, 10), 32, true),
    (Ipv4Addr::UNSPECIFIED, 8, false),
    (Ipv4Addr::new(10, 0, 0, 0), 8, false),
    (Ipv4Addr::new(100, 64, 0, 0), 10, false),
    (Ipv4Addr::new(127, 0, 0, 0), 8, false),
    (Ipv4Addr::new(169, 254, 0, 0), 16, false),
    (Ipv4Addr::new(172, 16, 0, 0), 12, false),
    (Ipv4Addr::new(192, 0, 0, 0), 24, false),
    (Ipv4Addr::new(192, 0, 2, 0), 24, false),
    // Relays of 6to4, no longer routed.
    (Ipv4Addr::new(192, 88, 99, 0), 24, false),
    (Ipv4Addr::new(192, 168, 0, 0), 16, false),
    (Ipv4Addr::new(198, 18, 0, 0), 15, false),
    (Ipv4Addr::new(198, 51, 100, 0), 24, false),
    (Ipv4Addr::new(203, 0, 113, 0), 24, false),
    // Multicast, reserved, broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 4, false),
    (Ipv4Addr::new(240, 0, 0, 0), 4, false),
    // Public by the registry, and by default.
    (Ipv4Addr::new(192, 31, 196, 0), 24, true),
    (Ipv4Addr::new(192, 52, 193, 0), 24, true),
    (Ipv4Addr::new(192, 175, 48, 0), 24, true),
    (Ipv4Addr::UNSPECIFIED, 0, true),
];

/// Blocks of IPv6, likewise, but for those that carry an address of IPv4 ([`carried`]). What is in none
/// of them is not routed.
const V6: [(Ipv6Addr, u32, bool); 13] = [
    // Within 2001::/23, which is set aside for protocols: anycast, AMT, AS112, ORCHIDv2, drones.
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1), 128, true),
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), 128, true),
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 3), 128, true),
    (Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 0), 32, true),
    (Ipv6Addr::new(0x2001, 4, 0x112, 0, 0, 0, 0, 0), 48, true),
    (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28, true),
    (Ipv6Addr::new(0x2001, 0x30, 0, 0, 0, 0, 0, 0), 28, true),
    // With Teredo, benchmarks and the first ORCHID.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, false),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, false),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, false),
    // Global unicast is 2000::/3: loopback, discard-only, local, multicast, SIDs and the rest lie outside.
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48, true),
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, true),
    (Ipv6Addr::UNSPECIFIED, 0, false),
];

/// Whether anybody on the Internet would reach the same machine there. An IPv6 address that carries one
/// of IPv4 is judged by that.
///
/// ```
/// assert!(larder::address::is_public("2606:4700::1111".parse().unwrap()));
/// assert!(!larder::address::is_public("::ffff:169.254.169.254".parse().unwrap()));
/// ```
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => carried(address).map_or_else(|| is_public_v6(address), is_public_v4),
    }
}

/// Whether all of a name's addresses are public; one that is not may be the one that is connected to.
#[must_use]
pub fn are_public(addresses: impl IntoIterator<Item = IpAddr>) -> bool {
    addresses.into_iter().all(is_public)
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let fits = |block: Ipv4Addr, length| (address.to_bits() ^ block.to_bits()).leading_zeros() >= length;
    V4.iter().find(|(block, length, _)| fits(*block, *length)).is_some_and(|found| found.2)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let fits = |block: Ipv6Addr, length| (address.to_bits() ^ block.to_bits()).leading_zeros() >= length;
    V6.iter().find(|(block, length, _)| fits(*block, *length)).is_some_and(|found| found.2)
}

/// The IPv4 address that packets to an IPv6 address end at: mapped (RFC 4291), translated by the
/// well-known prefix of NAT64 (RFC 6052), or 6to4 (RFC 3056).
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(v4(high, low))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The registries, block by block, with whether it is globally reachable; where they say neither,
    /// the block is not.
    const REGISTRY: [(&str, u32, bool); 52] = [
        ("0.0.0.0", 8, false),
        ("0.0.0.0", 32, false),
        ("10.0.0.0", 8, false),
        ("100.64.0.0", 10, false),
        ("127.0.0.0", 8, false),
        ("169.254.0.0", 16, false),
        ("172.16.0.0", 12, false),
        ("192.0.0.0", 29, false),
        ("192.0.0.8", 32, false),
        ("192.0.0.9", 32, true),
        ("192.0.0.10", 32, true),
        ("192.0.0.170", 31, false),
        ("192.0.0.255", 32, false),
        ("192.0.2.0", 24, false),
        ("192.31.196.0", 24, true),
        ("192.52.193.0", 24, true),
        ("192.88.99.0", 24, false),
        ("192.168.0.0", 16, false),
        ("192.175.48.0", 24, true),
        ("198.18.0.0", 15, false),
        ("198.51.100.0", 24, false),
        ("203.0.113.0", 24, false),
        ("224.0.0.0", 4, false),
        ("240.0.0.0", 4, false),
        ("255.255.255.255", 32, false),
        ("::", 128, false),
        ("::1", 128, false),
        ("64:ff9b:1::", 48, false),
        ("100::", 64, false),
        ("100:0:0:1::", 64, false),
        ("2001::", 32, false),
        ("2001:1::1", 128, true),
        ("2001:1::2", 128, true),
        ("2001:1::3", 128, true),
        ("2001:1::4", 128, false),
        ("2001:2::", 48, false),
        ("2001:3::", 32, true),
        ("2001:4:112::", 48, true),
        ("2001:10::", 28, false),
        ("2001:20::", 28, true),
        ("2001:30::", 28, true),
        ("2001:1ff::", 32, false),
        ("2001:db8::", 32, false),
        ("2620:4f:8000::", 48, true),
        ("3fff::", 20, false),
        ("4000::", 2, false),
        ("5f00::", 16, false),
        ("fc00::", 7, false),
        ("fe80::", 10, false),
        ("fec0::", 10, false),
        ("ff00::", 8, false),
        ("::", 96, false),
    ];

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The first and the last address of a block.
    fn ends(block: &str, length: u32) -> [IpAddr; 2] {
        match address(block) {
            IpAddr::V4(v4) => {
                let rest = u32::MAX.checked_shr(length).unwrap_or(0);
                [v4.into(), Ipv4Addr::from_bits(v4.to_bits() | rest).into()]
            }
            IpAddr::V6(v6) => {
                let rest = u128::MAX.checked_shr(length).unwrap_or(0);
                [v6.into(), Ipv6Addr::from_bits(v6.to_bits() | rest).into()]
            }
        }
    }

    #[test]
    fn every_block_of_the_registries_is_judged_from_its_first_address_to_its_last() {
        for (block, length, public) in REGISTRY {
            for address in ends(block, length) {
                assert_eq!(is_public(address), public, "{address}, of {block}/{length}");
            }
        }
    }

    #[test]
    fn what_lies_beside_a_block_is_public() {
        for text in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.1.255",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::",
            "2001:200::",
            "2001:db7:ffff::",
            "2001:db9::",
            "2003::",
            "2606:4700::1111",
            "3ffe:ffff::",
            "3fff:1000::",
            "3fff:ffff::1",
        ] {
            assert!(is_public(address(text)), "{text}");
        }
    }

    #[test]
    fn an_address_that_carries_another_is_as_public_as_that() {
        for (block, _, public) in REGISTRY.into_iter().filter(|(block, ..)| block.contains('.')) {
            let [a, b, c, d] = block.parse::<Ipv4Addr>().unwrap().octets();
            for text in [
                format!("::ffff:{block}"),
                format!("64:ff9b::{block}"),
                format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
            ] {
                assert_eq!(is_public(address(&text)), public, "{text}");
            }
        }
        for text in ["::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"] {
            assert!(is_public(address(text)), "{text}");
        }
        // By a prefix of the network's own, compatible (which is deprecated), Teredo of a public server.
        for text in ["64:ff9b:1::808:808", "::8.8.8.8", "2001:0:808:808::1"] {
            assert!(!is_public(address(text)), "{text}");
        }
    }

    #[test]
    fn one_inner_address_is_enough() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| address(text)).collect::<Vec<_>>();
        assert!(are_public(addresses(&["8.8.8.8", "2606:4700::1111"])));
        for list in [["8.8.8.8", "10.0.0.1"], ["::1", "8.8.8.8"], ["2606:4700::1111", "::ffff:127.0.0.1"]] {
            assert!(!are_public(addresses(&list)), "{list:?}");
        }
    }
}
