//! Which addresses a request may go to.
//!
//! A public address: always. This machine and its network: only where the operator wrote so. An address that is written down is the
//! operator's word for itself; `localhost` is for this machine; a name that nobody can register outside (without a dot, or under
//! `.local`, `.internal`, `.home.arpa`) is for the private network. Every other name leads to public addresses or nowhere, because
//! whoever owns it chooses where it leads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tidegate_sandbox::EgressError;

use super::{Resolve, failed};

/// What an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Anybody's.
    Public,
    /// This machine.
    Machine,
    /// The network that this machine is in.
    Network,
    /// Metadata services, neighbours, many at once, or nobody.
    Special,
}

/// The addresses of `host`, all of which a request may go to.
pub async fn checked(resolver: &dyn Resolve, host: &str, port: u16) -> Result<Vec<SocketAddr>, EgressError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = resolver.resolve(host.to_owned(), port).await;
    let addresses = found.map_err(|error| failed(format!("the address of `{host}` was not found: {error}"), true))?;
    if addresses.is_empty() {
        return Err(failed(format!("`{host}` has no address"), true));
    }
    match addresses.iter().find(|address| !may_lead_to(host, reach(address.ip()))) {
        None => Ok(addresses),
        Some(address) => {
            let address = address.ip();
            let message = format!("`{host}` leads to `{address}`, which is {}", in_words(reach(address)));
            Err(EgressError::Forbidden { message, address: address.to_string() })
        }
    }
}

fn may_lead_to(host: &str, reach: Reach) -> bool {
    let is_machine = host == "localhost" || host.ends_with(".localhost");
    let is_network = !host.contains('.') || [".local", ".internal", ".home.arpa"].iter().any(|end| host.ends_with(end));
    match reach {
        Reach::Public => !is_machine,
        Reach::Machine => is_machine,
        Reach::Network => is_network && !is_machine,
        Reach::Special => false,
    }
}

fn in_words(reach: Reach) -> &'static str {
    match reach {
        Reach::Public => "not this machine",
        Reach::Machine => "this machine",
        Reach::Network => "in a private network",
        Reach::Special => "neither public nor private (link-local, metadata, multicast or reserved)",
    }
}

fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(address) => reach_v4(address),
            None => reach_v6(address),
        },
    }
}

/// The IPv4 address that an IPv6 address is a wrapping of: mapped, translated (NAT64) or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(of(high, low)),
        // Compatible addresses, but not `::` and `::1`.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(of(high, low)),
        _ => None,
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let [first, second, third, _] = address.octets();
    match (first, second, third) {
        (127, ..) => Reach::Machine,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) => Reach::Network,
        // This network, link-local with the metadata services, protocol assignments, documentation, relays, benchmarks.
        (0, ..) | (169, 254, _) | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) => Reach::Special,
        // Multicast, reserved, broadcast.
        (224..=255, ..) => Reach::Special,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let segments = address.segments();
    match segments[0] {
        _ if address.is_loopback() => Reach::Machine,
        0xfc00..=0xfdff => Reach::Network,
        0x2001 if segments[1] == 0xdb8 || segments[1] < 0x200 => Reach::Special,
        // Global unicast is 2000::/3; the rest is link-local, site-local, multicast, discard or not assigned.
        0x2000..=0x3fff => Reach::Public,
        _ => Reach::Special,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: Reach) {
        assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
    }

    #[test]
    fn an_address_belongs_to_somebody() {
        for address in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            check(address, Reach::Public);
        }
        for address in ["127.0.0.1", "127.255.0.3", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"] {
            check(address, Reach::Machine);
        }
        for address in ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            check(address, Reach::Network);
        }
        for address in [
            "0.0.0.0",
            "169.254.169.254",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "::ffff:169.254.169.254",
            "::a9fe:a9fe",
            "100::1",
        ] {
            check(address, Reach::Special);
        }
    }

    #[test]
    fn a_name_leads_where_it_belongs() {
        for (host, reach, expected) in [
            ("alerts.example.com", Reach::Public, true),
            ("alerts.example.com", Reach::Machine, false),
            ("alerts.example.com", Reach::Network, false),
            ("alerts.example.com", Reach::Special, false),
            ("localhost", Reach::Machine, true),
            ("localhost", Reach::Network, false),
            ("localhost", Reach::Public, false),
            ("alertmanager", Reach::Network, true),
            ("alertmanager", Reach::Machine, false),
            ("prom.internal", Reach::Network, true),
            ("metadata.google.internal", Reach::Special, false),
            ("notinternal.example", Reach::Network, false),
        ] {
            assert_eq!(may_lead_to(host, reach), expected, "{host} {reach:?}");
        }
    }
}
