//! Which addresses are public: every IPv4 and IPv6 address has exactly one class.
//!
//! Public means globally reachable unicast, and nothing else. The table follows the IANA
//! special-purpose registries (RFC 6890 and what updates it); each line names its source. Where a
//! registry calls an anycast block reachable, it is refused here all the same: whichever network
//! is nearest answers it, and that is the operator's own.
//!
//! An IPv6 address that carries an IPv4 one is never public, whatever it carries: what translates
//! it, and to where, is not known here. A network-specific NAT64 prefix (RFC 6052 section 2.2)
//! can't be told from any other address; that is a residual risk of networks that run one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

/// What kind of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Globally reachable unicast.
    Public,
    /// This host itself, by loopback.
    Loopback,
    /// A private network (RFC 1918, RFC 4193, and IPv6 site-local).
    Private,
    /// Shared by the customers of a carrier (RFC 6598).
    Shared,
    /// One link.
    LinkLocal,
    /// A cloud's metadata service, or its host's.
    Metadata,
    /// For measuring (RFC 2544, RFC 5180).
    Benchmark,
    /// For examples in text.
    Documentation,
    /// An IPv4 address inside an IPv6 one: mapped, compatible, translated or tunnelled.
    Embedded,
    /// Many at once.
    Multicast,
    /// `0.0.0.0/8` and `::`: on many systems, this host.
    Unspecified,
    /// Set aside, not allocated, or of a protocol's own machinery.
    Reserved,
}

impl Class {
    /// Its name in records and policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
            Self::Benchmark => "benchmark",
            Self::Documentation => "documentation",
            Self::Embedded => "embedded",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Reserved => "reserved",
        }
    }

    /// Whether policy may allow such an address by naming its network. The others name no host
    /// that a request could be meant for, or name one in disguise.
    #[must_use]
    pub const fn can_be_named(self) -> bool {
        match self {
            Self::Public
            | Self::Loopback
            | Self::Private
            | Self::Shared
            | Self::LinkLocal
            | Self::Metadata
            | Self::Benchmark
            | Self::Documentation => true,
            Self::Embedded | Self::Multicast | Self::Unspecified | Self::Reserved => false,
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A block of IPv4 addresses: first address, length of the prefix, class, source.
type Block4 = (Ipv4Addr, u32, Class, &'static str);
/// The same of IPv6.
type Block6 = (Ipv6Addr, u32, Class, &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const fn v6(head: [u16; 4], tail: [u16; 4]) -> Ipv6Addr {
    let [a, b, c, d] = head;
    let [e, f, g, h] = tail;
    Ipv6Addr::new(a, b, c, d, e, f, g, h)
}

const ZERO: [u16; 4] = [0; 4];

/// The first block that holds an address decides, so single hosts stand before their networks.
#[rustfmt::skip]
const BLOCKS4: &[Block4] = &[
    (v4(169, 254, 169, 254), 32, Class::Metadata, "AWS, Azure, GCP, OpenStack and others"),
    (v4(169, 254, 169, 253), 32, Class::Metadata, "AWS resolver"),
    (v4(169, 254, 170, 2), 32, Class::Metadata, "AWS ECS task credentials"),
    (v4(169, 254, 170, 23), 32, Class::Metadata, "AWS EKS pod identity"),
    (v4(100, 100, 100, 200), 32, Class::Metadata, "Alibaba Cloud"),
    (v4(192, 0, 0, 192), 32, Class::Metadata, "Oracle Cloud"),
    // Lies in a public block: the one line that no registry has.
    (v4(168, 63, 129, 16), 32, Class::Metadata, "Azure WireServer"),
    (v4(0, 0, 0, 0), 8, Class::Unspecified, "RFC 791 section 3.2, RFC 1122 section 3.2.1.3"),
    (v4(10, 0, 0, 0), 8, Class::Private, "RFC 1918"),
    (v4(100, 64, 0, 0), 10, Class::Shared, "RFC 6598"),
    (v4(127, 0, 0, 0), 8, Class::Loopback, "RFC 1122 section 3.2.1.3"),
    (v4(169, 254, 0, 0), 16, Class::LinkLocal, "RFC 3927"),
    (v4(172, 16, 0, 0), 12, Class::Private, "RFC 1918"),
    (v4(192, 0, 0, 0), 24, Class::Reserved, "RFC 6890 section 2.1"),
    (v4(192, 0, 2, 0), 24, Class::Documentation, "RFC 5737"),
    (v4(192, 31, 196, 0), 24, Class::Reserved, "RFC 7535 (AS112 anycast)"),
    (v4(192, 52, 193, 0), 24, Class::Reserved, "RFC 7450 (AMT anycast)"),
    (v4(192, 88, 99, 0), 24, Class::Reserved, "RFC 7526 (6to4 relay anycast)"),
    (v4(192, 168, 0, 0), 16, Class::Private, "RFC 1918"),
    (v4(192, 175, 48, 0), 24, Class::Reserved, "RFC 7534 (AS112 anycast)"),
    (v4(198, 18, 0, 0), 15, Class::Benchmark, "RFC 2544"),
    (v4(198, 51, 100, 0), 24, Class::Documentation, "RFC 5737"),
    (v4(203, 0, 113, 0), 24, Class::Documentation, "RFC 5737"),
    (v4(224, 0, 0, 0), 4, Class::Multicast, "RFC 5771"),
    (v4(240, 0, 0, 0), 4, Class::Reserved, "RFC 1112 section 4, RFC 919 (broadcast)"),
];

#[rustfmt::skip]
const BLOCKS6: &[Block6] = &[
    (v6([0xfd00, 0x0ec2, 0, 0], [0, 0, 0, 0x0254]), 128, Class::Metadata, "AWS"),
    (v6([0xfd00, 0x0ec2, 0, 0], [0, 0, 0, 0x0023]), 128, Class::Metadata, "AWS EKS pod identity"),
    (v6([0xfd20, 0x00ce, 0, 0], [0, 0, 0, 0x0254]), 128, Class::Metadata, "GCP"),
    (v6(ZERO, ZERO), 128, Class::Unspecified, "RFC 4291 section 2.5.2"),
    (v6(ZERO, [0, 0, 0, 1]), 128, Class::Loopback, "RFC 4291 section 2.5.3"),
    (v6(ZERO, ZERO), 96, Class::Embedded, "RFC 4291 section 2.5.5.1 (compatible)"),
    (v6(ZERO, [0, 0xffff, 0, 0]), 96, Class::Embedded, "RFC 4291 section 2.5.5.2 (mapped)"),
    (v6(ZERO, [0xffff, 0, 0, 0]), 96, Class::Embedded, "RFC 2765 section 2.1 (translated)"),
    (v6([0x0064, 0xff9b, 0, 0], ZERO), 96, Class::Embedded, "RFC 6052 (NAT64)"),
    (v6([0x0064, 0xff9b, 1, 0], ZERO), 48, Class::Embedded, "RFC 8215 (local NAT64)"),
    (v6([0x0100, 0, 0, 0], ZERO), 64, Class::Reserved, "RFC 6666 (discard)"),
    (v6([0x0100, 0, 0, 1], ZERO), 64, Class::Reserved, "RFC 9780 (dummy)"),
    (v6([0x2001, 0, 0, 0], ZERO), 32, Class::Embedded, "RFC 4380 (Teredo)"),
    (v6([0x2001, 2, 0, 0], ZERO), 48, Class::Benchmark, "RFC 5180"),
    (v6([0x2001, 0, 0, 0], ZERO), 23, Class::Reserved, "RFC 2928 (IETF protocols)"),
    (v6([0x2001, 0x0db8, 0, 0], ZERO), 32, Class::Documentation, "RFC 3849"),
    (v6([0x2002, 0, 0, 0], ZERO), 16, Class::Embedded, "RFC 3056 (6to4)"),
    (v6([0x2620, 0x004f, 0x8000, 0], ZERO), 48, Class::Reserved, "RFC 7534 (AS112 anycast)"),
    (v6([0x3fff, 0, 0, 0], ZERO), 20, Class::Documentation, "RFC 9637"),
    (v6([0x5f00, 0, 0, 0], ZERO), 16, Class::Reserved, "RFC 9602 (segment identifiers)"),
    (v6([0xfc00, 0, 0, 0], ZERO), 7, Class::Private, "RFC 4193"),
    (v6([0xfe80, 0, 0, 0], ZERO), 10, Class::LinkLocal, "RFC 4291 section 2.5.6"),
    (v6([0xfec0, 0, 0, 0], ZERO), 10, Class::Private, "RFC 3879 (site-local)"),
    (v6([0xff00, 0, 0, 0], ZERO), 8, Class::Multicast, "RFC 4291 section 2.7"),
];

/// The only block that global unicast addresses are given out of (RFC 4291 section 2.4, IANA).
const GLOBAL_UNICAST6: (Ipv6Addr, u32) = (v6([0x2000, 0, 0, 0], ZERO), 3);

fn holds4(network: Ipv4Addr, prefix: u32, address: Ipv4Addr) -> bool {
    let shift = 32_u32.saturating_sub(prefix);
    let top = |a: Ipv4Addr| a.to_bits().checked_shr(shift).unwrap_or(0);
    top(network) == top(address)
}

fn holds6(network: Ipv6Addr, prefix: u32, address: Ipv6Addr) -> bool {
    let shift = 128_u32.saturating_sub(prefix);
    let top = |a: Ipv6Addr| a.to_bits().checked_shr(shift).unwrap_or(0);
    top(network) == top(address)
}

/// The class of an address.
#[must_use]
pub fn classify(address: IpAddr) -> Class {
    describe(address).0
}

/// The class of an address, and where that is written.
#[must_use]
pub(super) fn describe(address: IpAddr) -> (Class, &'static str) {
    match address {
        IpAddr::V4(address) => BLOCKS4
            .iter()
            .find(|(network, prefix, ..)| holds4(*network, *prefix, address))
            .map_or(
                (Class::Public, "global unicast"),
                |(_, _, class, source)| (*class, source),
            ),
        IpAddr::V6(address) => describe6(address),
    }
}

fn describe6(address: Ipv6Addr) -> (Class, &'static str) {
    if let Some((_, _, class, source)) = BLOCKS6
        .iter()
        .find(|(network, prefix, ..)| holds6(*network, *prefix, address))
    {
        return (*class, source);
    }
    let (network, prefix) = GLOBAL_UNICAST6;
    if !holds6(network, prefix, address) {
        return (
            Class::Reserved,
            "outside of 2000::/3 (RFC 4291 section 2.4)",
        );
    }
    // ISATAP puts an IPv4 address into the interface identifier of any prefix, so it is not a block.
    let [_, _, _, _, e, f, _, _] = address.segments();
    if f == 0x5efe && (e == 0 || e == 0x0200) {
        return (Class::Embedded, "RFC 5214 section 6.1 (ISATAP)");
    }
    (Class::Public, "global unicast")
}

/// The IPv4 address inside an IPv6 one, for the operator to read; `None` where the form carries
/// none or is not known.
#[must_use]
pub(super) fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, _, _, _, g, h] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    if describe6(address).0 != Class::Embedded {
        return None;
    }
    Some(match (a, b) {
        (0x2002, _) => join(b, c),
        // Teredo writes the client's address inverted.
        (0x2001, 0) => join(!g, !h),
        // RFC 6052 sections 2.2: where it stands in 64:ff9b:1::/48 depends on the network; the
        // last 32 bits are its place in a /96, which is what RFC 8215 recommends.
        _ => join(g, h),
    })
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
