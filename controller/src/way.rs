//! The way to a host, as the inventory and `-J` say: over which gateways, each reached through the one before.

use lariat_base::name::HostName;

use crate::error::CliError;
use crate::inventory::Inventory;
use crate::via::{Leg, Via};

/// Most gateways on the way to a host.
const MOST: usize = 4;

/// The gateways on the way to a host, the nearest first. `jump` is what `-J` says.
///
/// Only the first gateway of a list may have a way of its own: each of the others is reached through the one before.
/// `[defaults]` does not count for the gateways that it names, so that they can be reached.
pub(crate) fn way(
    inventory: &Inventory,
    host: &HostName,
    jump: Option<&Via>,
) -> Result<Vec<Leg>, CliError> {
    let mut legs: Vec<Leg> = Vec::new();
    let mut via = jump.or_else(|| via_of(inventory, host));
    while let Some(Via(before)) = via.take() {
        let mut all = before.clone();
        all.append(&mut legs);
        legs = all;
        check(host, &legs)?;
        if let Some(Leg::Host(first)) = before.first() {
            inventory.host(first).map_err(|error| error.during(format!("{host} via {first}")))?;
            via = via_of(inventory, first);
        }
    }
    Ok(legs)
}

/// What the inventory says of a host's way.
fn via_of<'a>(inventory: &'a Inventory, host: &HostName) -> Option<&'a Via> {
    let own = inventory.host(host).ok().and_then(|host| host.via.as_ref());
    let is_gateway =
        |via: &&Via| via.0.iter().any(|leg| matches!(leg, Leg::Host(name) if name == host));
    own.or_else(|| inventory.defaults().via.as_ref().filter(|via| !is_gateway(via)))
}

fn check(host: &HostName, legs: &[Leg]) -> Result<(), CliError> {
    let path = || {
        let legs: Vec<String> = legs.iter().map(Leg::to_string).collect();
        format!("{host} via {}", legs.join(","))
    };
    let wrong = |why: &str| {
        let error = CliError::new(format!("{}: {why}", path()));
        Err(error.next("see via in hosts.toml, and -J"))
    };
    let is_again =
        |(at, leg): (usize, &Leg)| *leg == Leg::Host(host.clone()) || legs[..at].contains(leg);
    if legs.iter().enumerate().any(is_again) {
        return wrong("the way is a circle");
    }
    if legs.len() > MOST {
        return wrong(&format!("more than {MOST} gateways"));
    }
    if legs.iter().skip(1).any(|leg| matches!(leg, Leg::Ssh(_))) {
        return wrong("a bastion of ssh can only be the first gateway");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lariat_base::toml_file;

    use super::*;

    fn inventory(hosts: &[(&str, &str)], defaults: &str) -> Inventory {
        let host = |(name, via): &(&str, &str)| {
            let via = if via.is_empty() { String::new() } else { format!("via = {via}\n") };
            format!("[hosts.{name}]\naddress = \"10.0.0.1\"\n{via}")
        };
        let text: String = hosts.iter().map(host).collect();
        toml_file::parse(Path::new("hosts.toml"), &format!("{defaults}\n{text}")).unwrap()
    }

    fn said(inventory: &Inventory, host: &str, jump: Option<&str>) -> String {
        let jump: Option<Via> = jump.map(|jump| jump.parse().unwrap());
        match way(inventory, &host.parse().unwrap(), jump.as_ref()) {
            Ok(legs) => Via(legs).to_string(),
            Err(error) => error.line(),
        }
    }

    #[test]
    fn a_gateway_may_have_a_way_of_its_own() {
        let hosts = [
            ("web1", "\"gw2\""),
            ("web2", "[\"gw1\", \"gw2\"]"),
            ("web3", "\"none\""),
            ("web4", ""),
            ("gw1", ""),
            ("gw2", "\"gw1\""),
        ];
        let plain = inventory(&hosts, "");
        for (host, jump, expected) in [
            ("web1", None, "gw1,gw2"),
            ("web2", None, "gw1,gw2"),
            ("web3", None, "none"),
            ("web4", None, "none"),
            ("gw2", None, "gw1"),
            ("web1", Some("none"), "none"),
            ("web4", Some("gw2"), "gw1,gw2"),
            ("web4", Some("ssh:bastion,gw1"), "ssh:bastion,gw1"),
        ] {
            assert_eq!(said(&plain, host, jump), expected, "{host} {jump:?}");
        }
        let defaults = inventory(&hosts, "[defaults]\nvia = \"ssh:root@bastion\"");
        for (host, expected) in [
            ("web1", "ssh:root@bastion,gw1,gw2"),
            ("web3", "none"),
            ("web4", "ssh:root@bastion"),
            ("gw1", "ssh:root@bastion"),
        ] {
            assert_eq!(said(&defaults, host, None), expected, "{host}");
        }
        // The gateway of all hosts is reached directly.
        let defaults = inventory(&hosts, "[defaults]\nvia = \"gw1\"");
        assert_eq!(said(&defaults, "gw1", None), "none");
        assert_eq!(said(&defaults, "web4", None), "gw1");
        assert_eq!(said(&defaults, "web1", None), "gw1,gw2");
    }

    #[test]
    fn a_circle_and_what_is_too_long_are_refused() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let chain: Vec<(String, String)> = names
            .iter()
            .zip(names.iter().skip(1))
            .map(|(host, via)| ((*host).to_owned(), format!("\"{via}\"")))
            .chain([("f".to_owned(), String::new()), ("x".to_owned(), "\"y\"".to_owned())])
            .chain([("y".to_owned(), "\"x\"".to_owned())])
            .collect();
        let chain: Vec<_> = chain.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let inventory = inventory(&chain, "");
        assert_eq!(said(&inventory, "b", None), "f,e,d,c");
        let next = "; see via in hosts.toml, and -J";
        let tell = |host, jump| said(&inventory, host, jump);
        assert_eq!(tell("a", None), format!("a via f,e,d,c,b: more than 4 gateways{next}"));
        assert_eq!(tell("x", None), format!("x via x,y: the way is a circle{next}"));
        assert_eq!(tell("f", Some("f")), format!("f via f: the way is a circle{next}"));
        assert_eq!(
            tell("f", Some("e,ssh:b")),
            format!("f via e,ssh:b: a bastion of ssh can only be the first gateway{next}")
        );
        assert!(tell("f", Some("nope")).starts_with("f via nope: no host nope in this fleet"));
    }
}
