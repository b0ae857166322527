//! From a name to the addresses that may be dialled: looked up once, checked as a whole.
//!
//! A second look-up could answer otherwise (DNS rebinding), so there is none: what was checked is
//! what is dialled. A set with one address that is not allowed is refused whole, because a name that
//! mixes public and private addresses is an attack or a mistake, and which of them a retry would take
//! is nobody's decision.

use std::fmt;
use std::io;
use std::net::IpAddr;

use async_trait::async_trait;

use super::address::{self, Class};
use super::origin::Host;
use super::url::why_not_public;
use crate::reason::{Reason, Refusal};

/// More addresses than this are no answer that a person set up.
const MOST_ADDRESSES: usize = 64;

/// Looks names up.
#[async_trait]
pub trait Resolver: Send + Sync + fmt::Debug {
    /// All addresses of `name`, of both families.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver, on tokio's pool of blocking threads. A look-up that is
/// abandoned there ends by itself. The system may complete a name by its search list; what that
/// finds is checked like any other address, and TLS still asks for the name that was decided on.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0))
            .await?
            .map(|address| address.ip())
            .collect())
    }
}

/// Says whether policy names the network of an address that is not public.
pub trait AddressPolicy: Send + Sync {
    /// Whether this request may go to `address`.
    fn allows(&self, address: IpAddr, class: Class) -> bool;
}

impl<F: Fn(IpAddr, Class) -> bool + Send + Sync> AddressPolicy for F {
    fn allows(&self, address: IpAddr, class: Class) -> bool {
        self(address, class)
    }
}

/// Addresses that were all checked; the only ones that are ever dialled.
#[derive(Debug)]
pub(super) struct CheckedAddresses(Vec<IpAddr>);

impl CheckedAddresses {
    pub(super) fn as_slice(&self) -> &[IpAddr] {
        &self.0
    }
}

/// Looks `host` up, once, and checks each address of the answer.
pub(super) async fn resolve(
    resolver: &dyn Resolver,
    host: &Host,
    policy: &dyn AddressPolicy,
) -> Result<CheckedAddresses, Refusal> {
    let name = match host {
        Host::Address(address) => return check(host, vec![*address], policy),
        Host::Name(name) => name,
    };
    let answer = resolver.resolve(name).await.map_err(|error| {
        Refusal::new(Reason::EgressDns, "the name could not be looked up")
            .with_detail(format!("`{name}`: {error}"))
    })?;
    check(host, answer, policy)
}

fn check(
    host: &Host,
    answer: Vec<IpAddr>,
    policy: &dyn AddressPolicy,
) -> Result<CheckedAddresses, Refusal> {
    if answer.is_empty() || answer.len() > MOST_ADDRESSES {
        return Err(
            Refusal::new(Reason::EgressDns, "the name has no address, or too many")
                .with_detail(format!("`{host}`: {} addresses", answer.len())),
        );
    }
    for &address in &answer {
        let class = address::classify(address);
        let allowed =
            class == Class::Public || (class.can_be_named() && policy.allows(address, class));
        if !allowed {
            let why = why_not_public(address);
            return Err(
                Refusal::new(Reason::EgressIpClass, "the host's address is not public")
                    .with_detail(format!("`{host}` has the address {why}")),
            );
        }
    }
    let mut unique: Vec<IpAddr> = Vec::with_capacity(answer.len());
    for address in answer {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    Ok(CheckedAddresses(unique))
}
