//! Every line of the table, its neighbours, and every way to wrap an address.

use super::*;
use proptest::prelude::*;

fn class(text: &str) -> Class {
    classify(text.parse().unwrap())
}

#[test]
fn each_block_is_held_from_its_first_to_its_last_address() {
    for (network, prefix, ..) in BLOCKS4 {
        let last = network.to_bits() | u32::MAX.checked_shr(*prefix).unwrap_or(0);
        for address in [*network, Ipv4Addr::from_bits(last)] {
            assert_ne!(classify(address.into()), Class::Public, "{address}");
        }
    }
    for (network, prefix, ..) in BLOCKS6 {
        let last = network.to_bits() | u128::MAX.checked_shr(*prefix).unwrap_or(0);
        for address in [*network, Ipv6Addr::from_bits(last)] {
            assert_ne!(classify(address.into()), Class::Public, "{address}");
        }
    }
}

#[test]
fn the_neighbours_of_blocks_are_public() {
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
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "93.184.216.34",
        "8.8.8.8",
        "168.63.129.15",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2606:4700::1111",
        "2003::1",
        "3ffe::1",
        "2a00:1450:4001::200e",
    ] {
        assert_eq!(class(text), Class::Public, "{text}");
    }
}

#[test]
fn s01_s02_s06_s07_have_their_classes() {
    for (text, expected) in [
        ("127.0.0.1", Class::Loopback),
        ("10.1.2.3", Class::Private),
        ("172.16.0.1", Class::Private),
        ("192.168.1.1", Class::Private),
        ("0.0.0.0", Class::Unspecified),
        ("100.64.0.1", Class::Shared),
        ("169.254.169.254", Class::Metadata),
        ("169.254.170.2", Class::Metadata),
        ("169.254.1.1", Class::LinkLocal),
        ("100.100.100.200", Class::Metadata),
        ("192.0.0.192", Class::Metadata),
        ("168.63.129.16", Class::Metadata),
        ("fd00:ec2::254", Class::Metadata),
        ("::1", Class::Loopback),
        ("::", Class::Unspecified),
        ("fe80::1", Class::LinkLocal),
        ("fd12::1", Class::Private),
        ("fec0::1", Class::Private),
        ("::ffff:127.0.0.1", Class::Embedded),
        ("::ffff:8.8.8.8", Class::Embedded),
        ("::127.0.0.1", Class::Embedded),
        ("::ffff:0:127.0.0.1", Class::Embedded),
        ("64:ff9b::7f00:1", Class::Embedded),
        ("64:ff9b:1::1", Class::Embedded),
        ("2002:7f00:1::", Class::Embedded),
        ("2001::1", Class::Embedded),
        ("2a00::5efe:10.0.0.1", Class::Embedded),
        ("198.18.0.1", Class::Benchmark),
        ("2001:2::1", Class::Benchmark),
        ("2001:20::1", Class::Reserved),
        ("2001:db8::1", Class::Documentation),
        ("3fff::1", Class::Documentation),
        ("239.255.255.255", Class::Multicast),
        ("ff02::1", Class::Multicast),
        ("255.255.255.255", Class::Reserved),
        ("4000::1", Class::Reserved),
    ] {
        assert_eq!(class(text), expected, "{text}");
    }
}

#[test]
fn what_is_embedded_is_shown() {
    for (text, inner) in [
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("64:ff9b::a9fe:a9fe", "169.254.169.254"),
        ("2002:a00:5::1", "10.0.0.5"),
        ("2001:0:1:2:3:4:f5ff:fffa", "10.0.0.5"),
    ] {
        assert_eq!(
            embedded(text.parse().unwrap()),
            Some(inner.parse().unwrap()),
            "{text}"
        );
    }
    assert_eq!(embedded("2606:4700::1".parse().unwrap()), None);
}

proptest! {
    #[test]
    fn no_wrapping_makes_an_address_public(bits: u32, tail: u64) {
        let v4 = Ipv4Addr::from_bits(bits);
        let low = u128::from(bits);
        let wrapped = [
            v4.to_ipv6_mapped().to_bits(),
            low,
            0xffff_0000_0000_0000 | low,
            0x0064_ff9b_u128 << 96 | low,
            0x0064_ff9b_0001_u128 << 80 | low,
            0x2002_u128 << 112 | low << 80 | u128::from(tail),
            0x2001_0000_u128 << 96 | u128::from(tail),
            0x2a00_u128 << 112 | 0x5efe_u128 << 32 | low,
        ];
        for address in wrapped.map(Ipv6Addr::from_bits) {
            prop_assert_ne!(classify(address.into()), Class::Public);
            // `::` and `::1` have classes of their own.
            if address != Ipv6Addr::UNSPECIFIED && address != Ipv6Addr::LOCALHOST {
                prop_assert!(!classify(address.into()).can_be_named());
            }
        }
    }

    #[test]
    fn never_public_where_the_standard_library_says_otherwise(bits: u32) {
        let address = Ipv4Addr::from_bits(bits);
        let special = address.is_loopback() || address.is_private() || address.is_link_local()
            || address.is_broadcast() || address.is_documentation() || address.is_multicast()
            || address.is_unspecified();
        prop_assert!(!(special && classify(address.into()) == Class::Public));
    }

    #[test]
    fn public_ipv6_lies_in_global_unicast(bits: u128) {
        let address = Ipv6Addr::from_bits(bits);
        if classify(address.into()) == Class::Public {
            prop_assert_eq!(bits >> 125, 1);
            prop_assert!(!address.is_unique_local() && !address.is_unicast_link_local());
        }
    }
}
