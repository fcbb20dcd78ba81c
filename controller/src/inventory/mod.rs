//! The inventory, `hosts.toml`: the hosts, their addresses, and the data that authenticates each of them.
//!
//! It can be edited by hand: [`edit`] preserves comments and formatting, and errors have line numbers.
//! [`crate::target`] resolves targets.

pub(crate) mod edit;
mod tag;

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use lariat_base::name::{EnrolmentId, HostName};
use lariat_base::near::nearest;
use lariat_base::private;
use lariat_base::toml_file::{self, from_text};
use lariat_client::Address;
use serde::{Deserialize, Deserializer};

use crate::error::CliError;
use crate::home::Home;
use crate::ssh::Proxy;
use crate::via::Via;
pub(crate) use tag::{BadTag, Tag};

/// The hosts of the fleet.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inventory {
    #[serde(default)]
    hosts: BTreeMap<HostName, Host>,
    #[serde(default)]
    defaults: Defaults,
}

/// What holds for hosts that do not say otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Defaults {
    /// The gateways on the way.
    pub(crate) via: Option<Via>,
    /// The command that connects.
    #[serde(default, deserialize_with = "some_from_text")]
    pub(crate) proxy: Option<Proxy>,
}

/// A host's entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Host {
    /// The address where its agent listens; `None` if it only dials out to a gateway.
    pub(crate) address: Option<Address>,
    /// Tags, which name groups of hosts in targets.
    pub(crate) tags: Vec<Tag>,
    /// The gateways on the way to it, if it says so itself.
    pub(crate) via: Option<Via>,
    /// The command that connects to it, if it says so itself.
    pub(crate) proxy: Option<Proxy>,
    /// The data that authenticates it; `None` for a host that was only added by hand or imported.
    pub(crate) enrolled: Option<Enrolled>,
}

impl Host {
    /// Its address, for people.
    pub(crate) fn place(&self) -> String {
        match (&self.address, &self.via) {
            (Some(address), _) => address.to_string(),
            (None, Some(via)) => format!("via {via}"),
            (None, None) => String::new(),
        }
    }
}

/// The data that enrollment recorded for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Enrolled {
    /// Its enrollment id, which its keys are derived from.
    pub(crate) enrolment: EnrolmentId,
    /// SHA-256 of its certificate's SubjectPublicKeyInfo.
    pub(crate) spki: Spki,
    /// SHA-256 of a new key's SubjectPublicKeyInfo, while `renew --new-key` gives the key to the host: either is
    /// accepted.
    pub(crate) next: Option<Spki>,
}

impl Enrolled {
    /// Whether the host is known to have the key with this hash, or is about to take it.
    pub(crate) fn has_key(&self, spki: [u8; 32]) -> bool {
        self.spki.0 == spki || self.next.is_some_and(|next| next.0 == spki)
    }
}

/// A host's table in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, deserialize_with = "some_from_text")]
    address: Option<Address>,
    #[serde(default, deserialize_with = "tags")]
    tags: Vec<Tag>,
    via: Option<Via>,
    #[serde(default, deserialize_with = "some_from_text")]
    proxy: Option<Proxy>,
    #[serde(default, deserialize_with = "some_from_text")]
    enrolment: Option<EnrolmentId>,
    #[serde(default, deserialize_with = "some_from_text")]
    spki: Option<Spki>,
    #[serde(default, deserialize_with = "some_from_text")]
    spki_next: Option<Spki>,
}

impl TryFrom<Written> for Host {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        let Written { address, tags, via, proxy, enrolment, spki, spki_next } = written;
        let enrolled = match (enrolment, spki) {
            (Some(enrolment), Some(spki)) => Some(Enrolled { enrolment, spki, next: spki_next }),
            (None, None) => None,
            (Some(_), None) => return Err("the key spki is missing, which belongs to `enrolment`"),
            (None, Some(_)) => return Err("the key enrolment is missing, which belongs to `spki`"),
        };
        if address.is_none() && via.as_ref().is_none_or(|via| via.0.is_empty()) {
            return Err("the key address is missing, and there is no `via`");
        }
        Ok(Self { address, tags, via, proxy, enrolled })
    }
}

fn some_from_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: std::fmt::Display>,
{
    from_text(deserializer).map(Some)
}

/// SHA-256 of a SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spki(pub(crate) [u8; 32]);

/// A text is not an [`Spki`].
#[derive(Debug, thiserror::Error)]
#[error("a key's hash is 64 hexadecimal digits")]
pub(crate) struct BadSpki;

impl FromStr for Spki {
    type Err = BadSpki;

    fn from_str(text: &str) -> Result<Self, BadSpki> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BadSpki)?;
        Ok(Self(bytes))
    }
}

/// What to write instead of a header that is at fault.
fn header_advice(line: &str) -> Option<String> {
    let header = line.trim();
    if let Some(name) = header.strip_prefix("[[hosts.").and_then(|rest| rest.split(']').next()) {
        return Some(format!("a host stands in single brackets: [hosts.{name}]"));
    }
    let name = header.strip_prefix('[')?.split(']').next()?;
    match name.strip_prefix("hosts.") {
        Some(name) if name.contains('.') && !name.contains('"') => {
            Some(format!("a name with dots stands in quotes: [hosts.\"{name}\"]"))
        }
        Some(_) => None,
        None => name.parse::<HostName>().ok().map(|name| format!("a host is [hosts.{name}]")),
    }
}

fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Tag>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

impl Inventory {
    /// Loads the inventory of a fleet, which must exist.
    pub(crate) fn load(home: &Home) -> Result<Self, CliError> {
        home.require_fleet()?;
        let path = home.hosts_file();
        Self::parse(&path, &private::read_public(&path)?)
    }

    /// Parses the file's text; `path` is for messages.
    fn parse(path: &Path, text: &str) -> Result<Self, CliError> {
        toml_file::parse(path, text).map_err(|bad| {
            let line = text.lines().nth(bad.line.saturating_sub(1)).unwrap_or_default();
            header_advice(line).into_iter().fold(CliError::from(bad), CliError::next)
        })
    }

    /// An inventory of these hosts.
    pub(crate) fn of(hosts: BTreeMap<HostName, Host>) -> Self {
        Self { hosts, defaults: Defaults::default() }
    }

    /// What holds for hosts that do not say otherwise.
    pub(crate) fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// The host with this name. Otherwise the error suggests a similar name.
    pub(crate) fn host(&self, name: &HostName) -> Result<&Host, CliError> {
        self.hosts.get(name).ok_or_else(|| {
            let near = nearest(name.as_str(), self.hosts.keys().map(HostName::as_str));
            let near = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            CliError::new(format!("no host {name} in this fleet{near}")).hint("lariat hosts")
        })
    }

    /// A host's address, if it has one, and its authentication data, if it is enrolled.
    pub(crate) fn enrolled(
        &self,
        name: &HostName,
    ) -> Result<(Option<&Address>, Enrolled), CliError> {
        let host = self.host(name)?;
        let enrolled = host.enrolled.ok_or_else(|| {
            CliError::new(format!("{name} is not enrolled yet"))
                .hint(format!("lariat enroll {name}"))
        })?;
        Ok((host.address.as_ref(), enrolled))
    }

    /// Whether there is a host with this name.
    pub(crate) fn contains(&self, name: &HostName) -> bool {
        self.hosts.contains_key(name)
    }

    /// All hosts, ordered by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HostName, &Host)> {
        self.hosts.iter()
    }

    /// A tag that is similar to an unknown one.
    pub(crate) fn near(&self, tag: &Tag) -> Option<&str> {
        let all = || self.hosts.values().flat_map(|host| &host.tags).map(Tag::as_str);
        if all().any(|known| known == tag.as_str()) { None } else { nearest(tag.as_str(), all()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> String {
        let (enrolment, spki) = ("01".repeat(16), "02".repeat(32));
        format!(
            "[hosts.{name}]\naddress = \"10.0.0.1\"\ntags = [\"web\"]\n\
             enrolment = \"{enrolment}\"\nspki = \"{spki}\"\n"
        )
    }

    fn parse(text: &str) -> Result<Inventory, String> {
        Inventory::parse(Path::new("hosts.toml"), text).map_err(|error| error.line())
    }

    #[test]
    fn hosts_are_found_and_near_misses_are_named() {
        let inventory = parse(&format!("{}{}", entry("web1"), entry("\"db.example\""))).unwrap();
        let host = inventory.host(&"web1".parse().unwrap()).unwrap();
        assert_eq!(host.place(), "10.0.0.1:7433");
        let miss = |name: &str| inventory.host(&name.parse().unwrap()).unwrap_err().line();
        assert_eq!(
            miss("wbe1"),
            "no host wbe1 in this fleet (did you mean web1?); try: lariat hosts"
        );
        assert_eq!(miss("mail"), "no host mail in this fleet; try: lariat hosts");
        assert_eq!(miss("x"), "no host x in this fleet; try: lariat hosts");
    }

    #[test]
    fn the_man_page_has_every_key() {
        let page = include_str!("../../../docs/man/lariat-hosts.toml.5");
        let error = parse(&format!("{}zzzz = 1\n", entry("web1"))).unwrap_err();
        let (_, keys) = error.split_once("the keys here are: ").unwrap();
        for key in keys.split(", ") {
            assert!(page.contains(&format!(".B {key}\n")), "{key}");
        }
    }

    #[test]
    fn a_wrong_header_is_told_with_the_right_one() {
        let with =
            |header: &str| parse(&entry("web1").replace("[hosts.web1]", header)).unwrap_err();
        let said = with("[web1]");
        assert!(said.ends_with("hosts, defaults; a host is [hosts.web1]"), "{said}");
        let said = with("[hosts.web1.example.org]");
        assert!(said.ends_with(r#"stands in quotes: [hosts."web1.example.org"]"#), "{said}");
        let said = with("[[hosts.web1]]");
        assert!(said.ends_with("stands in single brackets: [hosts.web1]"), "{said}");
    }

    #[test]
    fn errors_have_line_and_key() {
        let good = entry("web1");
        for (text, error) in [
            (
                format!("{good}adress = 1\n"),
                "hosts.toml:6: unknown key adress (did you mean address?); ",
            ),
            (format!("host = 1\n{good}"), "hosts.toml:1: unknown key host (did you mean hosts?); "),
            (good.replace("10.0.0.1", "10.0.0"), "hosts.toml:2: \"10.0.0\" is not an address"),
            (good.replace("address", "# address"), "hosts.toml:1: the key address is missing, and"),
            (good.replace("\"web\"", "\"@web\""), "hosts.toml:3: \"@web\" is not a tag"),
            (good.replace("0101", "01"), "hosts.toml:4: an id is 32 hex"),
            (good.replace("0202", "02"), "hosts.toml:5: a key's hash is 64 hex"),
            (good.replace("spki", "# spki"), "hosts.toml:1: the key spki is missing"),
            (good.replace("web1", "Web1"), "hosts.toml:1: \"Web1\" is not a host name"),
            (good.replace("web1", "all"), "hosts.toml:1: \"all\" stands for every host"),
            (format!("{good}{good}"), "hosts.toml:6: "),
        ] {
            let message = parse(&text).unwrap_err();
            assert!(message.starts_with(error), "{message}");
        }
    }
}
