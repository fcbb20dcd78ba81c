//! What was found on the local network: which answers hold, and which address of a host is taken. No I/O.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use lariat_base::name::HostName;
use lariat_client::{Address, Trust};
use lariat_wire::discover::Answer;

use crate::inventory::Inventory;

/// Most addresses that are kept of a host: one for each network that it shares with this machine, and then some.
const MOST: usize = 16;

/// Most hosts.
const MOST_HOSTS: usize = 4096;

/// The hosts that have answered.
#[derive(Default)]
pub(crate) struct Found(BTreeMap<HostName, Vec<Address>>);

impl Found {
    /// Takes an answer that came from an address in, if it is one of this fleet's host to a probe with this nonce. One
    /// that names a host of the inventory is to have the key that enrollment recorded.
    pub(crate) fn take(
        &mut self,
        datagram: &[u8],
        (from, interface): (SocketAddr, Option<&str>),
        (trust, inventory, nonce): (&Trust, &Inventory, &[u8; 32]),
    ) {
        let Ok(answer) = Answer::decode(datagram) else { return };
        let Ok(spki) = trust.discovered(nonce, &answer) else { return };
        let enrolled = inventory.host(&answer.name).ok().and_then(|host| host.enrolled);
        let is_other = enrolled.is_some_and(|enrolled| !enrolled.has_key(spki));
        let Some(address) = address(from.ip(), interface, answer.port).filter(|_| !is_other) else {
            return;
        };
        if self.0.len() < MOST_HOSTS || self.0.contains_key(&answer.name) {
            let all = self.0.entry(answer.name).or_default();
            if all.len() < MOST && !all.contains(&address) {
                all.push(address);
            }
        }
    }

    /// The hosts, each with the address that is taken of it: the one that the inventory has already, else loopback, as it
    /// is on this machine then, else the least of IPv4, else the least.
    pub(crate) fn hosts(&self, inventory: &Inventory) -> Vec<(&HostName, &Address)> {
        let taken = |(name, all): (&'_ HostName, &'_ Vec<Address>)| {
            let known = inventory.host(name).ok().and_then(|host| host.address.clone());
            let rank = |address: &&Address| {
                let ip = address.host().parse::<IpAddr>().ok();
                let [is_here, is_ipv4] =
                    [ip.is_some_and(|ip| ip.is_loopback()), ip.is_some_and(|ip| ip.is_ipv4())];
                (Some(*address) != known.as_ref(), !is_here, !is_ipv4, ip.is_none(), ip)
            };
            all.iter().enumerate().min_by_key(|(_, address)| rank(address)).map(|(at, _)| at)
        };
        self.0.iter().filter_map(|(name, all)| Some((name, &all[taken((name, all))?]))).collect()
    }
}

/// An address that can be connected to; one that is link-local needs its interface.
fn address(ip: IpAddr, interface: Option<&str>, port: u16) -> Option<Address> {
    let ip = ip.to_canonical();
    let text = match (ip, interface) {
        (IpAddr::V6(ip), Some(interface)) if Ipv6Addr::is_unicast_link_local(&ip) => {
            format!("[{ip}%{interface}]:{port}")
        }
        (IpAddr::V6(ip), _) => format!("[{ip}]:{port}"),
        (IpAddr::V4(ip), _) => format!("{ip}:{port}"),
    };
    text.parse().ok()
}
