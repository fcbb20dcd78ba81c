//! Edits `hosts.toml`, and preserves its formatting and comments.
//!
//! Every change holds the home's lock, reads the file again under that lock, and replaces it atomically.

use lariat_base::name::HostName;
use lariat_base::private;
use lariat_base::toml_file::BadContent;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, value};

use crate::error::CliError;
use crate::home::{Home, HomeLock};
use crate::inventory::{Host, Inventory, Spki, Tag};

/// The inventory of a new fleet.
pub(crate) const EMPTY: &str = "\
# The hosts of this fleet. Edit it as you like; lariat keeps your comments.
#
#   [hosts.web1]
#   address = \"10.0.0.1:7433\"   # where its agent listens
#   tags = [\"web\", \"berlin\"]    # for targets such as @web
#
# `enrolment` and `spki` are what makes a host trusted: `lariat enroll` writes them.
";

/// The hash of a host's new key, until it is known to have it.
const SPKI_NEXT: &str = "spki_next";

/// Sets the hashes of a host's key and of its next one.
pub(crate) fn set_keys(
    home: &Home,
    lock: &HomeLock,
    name: &HostName,
    spki: Spki,
    next: Option<Spki>,
) -> Result<(), CliError> {
    let mut host = Inventory::load(home)?.host(name)?.clone();
    if let Some(enrolled) = &mut host.enrolled {
        (enrolled.spki, enrolled.next) = (spki, next);
    }
    add(home, lock, name, &host)
}

/// Adds a host, or updates an existing one.
pub(crate) fn add(
    home: &Home,
    lock: &HomeLock,
    name: &HostName,
    host: &Host,
) -> Result<(), CliError> {
    add_all(home, lock, &[(name.clone(), host.clone())])
}

/// Adds several hosts, as [`add`] does one.
pub(crate) fn add_all(
    home: &Home,
    _lock: &HomeLock,
    hosts: &[(HostName, Host)],
) -> Result<(), CliError> {
    change(home, |document| {
        hosts.iter().try_for_each(|(name, host)| with_or_renewed(document, name, host))
    })
}

/// Adds hosts, or has the tables of existing ones say what these hosts do, and nothing of it besides: an entry that a
/// host does not have is removed.
pub(crate) fn replace_all(
    home: &Home,
    _lock: &HomeLock,
    hosts: &[(HostName, Host)],
) -> Result<(), CliError> {
    change(home, |document| {
        hosts.iter().try_for_each(|(name, host)| {
            // There is nothing to remove from a host that is new.
            let _ = without_entries(document, name, host);
            with_or_renewed(document, name, host)
        })
    })
}

/// Removes a host.
pub(crate) fn remove(home: &Home, _lock: &HomeLock, name: &HostName) -> Result<(), CliError> {
    change(home, |document| without_host(document, name))
}

fn with_or_renewed(document: &mut DocumentMut, name: &HostName, host: &Host) -> Option<()> {
    renewed(document, name, host).or_else(|| with_host(document, name, host))
}

fn change(home: &Home, edit: impl FnOnce(&mut DocumentMut) -> Option<()>) -> Result<(), CliError> {
    let path = home.hosts_file();
    let odd = |line, message: &str| {
        CliError::from(BadContent { path: path.clone(), line, message: message.to_owned() })
    };
    let text = private::read_public(&path)?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.as_bytes().get(..start).unwrap_or_default();
        odd(before.split(|&byte| byte == b'\n').count(), error.message())
    })?;
    edit(&mut document).ok_or_else(|| odd(1, "`hosts` is not a table of tables"))?;
    Ok(private::replace(&path, document.to_string().as_bytes())?)
}

/// Updates the table of a host, if it exists.
fn renewed(document: &mut DocumentMut, name: &HostName, host: &Host) -> Option<()> {
    let hosts = document.get_mut("hosts")?.as_table_like_mut()?;
    let table = hosts.get_mut(name.as_str())?.as_table_like_mut()?;
    // Not every host has one.
    table.remove(SPKI_NEXT);
    for (key, new) in entries(host) {
        match (table.get_mut(key).and_then(Item::as_value_mut), new) {
            // Preserves comments and spaces around the value.
            (Some(old), Item::Value(mut new)) => {
                *new.decor_mut() = old.decor().clone();
                *old = new;
            }
            (_, new) => drop(table.insert(key, new)),
        }
    }
    Some(())
}

/// Removes the entries of an existing host's table that this host does not have.
fn without_entries(document: &mut DocumentMut, name: &HostName, host: &Host) -> Option<()> {
    let hosts = document.get_mut("hosts")?.as_table_like_mut()?;
    let table = hosts.get_mut(name.as_str())?.as_table_like_mut()?;
    for key in ["address", "via", "enrolment", "spki"] {
        if entries(host).all(|(kept, _)| kept != key) {
            table.remove(key);
        }
    }
    Some(())
}

/// The hosts as an inventory lists them, for another operator.
pub(crate) fn to_toml<'a>(hosts: impl IntoIterator<Item = (&'a HostName, &'a Host)>) -> String {
    let mut document = DocumentMut::new();
    // A host that is enrolled has a table of its own each, so this never fails.
    hosts.into_iter().for_each(|(name, host)| _ = with_host(&mut document, name, host));
    document.to_string()
}

/// The entries of a host's table.
fn entries(host: &Host) -> impl Iterator<Item = (&'static str, Item)> {
    let address = host.address.as_ref().map(|address| ("address", value(address.to_string())));
    let tags = ("tags", value(host.tags.iter().map(Tag::as_str).collect::<Array>()));
    let enrolled = host.enrolled.iter().flat_map(|enrolled| {
        let next = enrolled.next.map(|next| (SPKI_NEXT, value(hex::encode(next.0))));
        [
            ("enrolment", value(enrolled.enrolment.to_string())),
            ("spki", value(hex::encode(enrolled.spki.0))),
        ]
        .into_iter()
        .chain(next)
    });
    let via = host.via.as_ref().map(|via| ("via", value(via.to_string())));
    address.into_iter().chain([tags]).chain(via).chain(enrolled)
}

/// Appends a new table at the end of the text, below any comments.
fn with_host(document: &mut DocumentMut, name: &HostName, host: &Host) -> Option<()> {
    let end = document.trailing().as_str().unwrap_or_default().to_owned();
    let last = positions(document).into_iter().map(|(position, _)| position).max();

    let mut table = Table::new();
    for (key, value) in entries(host) {
        table[key] = value;
    }
    table.set_position(Some(last.map_or(0, |last| last.saturating_add(1))));

    let hosts = document.entry("hosts").or_insert_with(|| {
        let mut hosts = Table::new();
        hosts.set_implicit(true);
        Item::Table(hosts)
    });
    if let Some(hosts) = hosts.as_table_mut() {
        let blank = if end.is_empty() && hosts.is_empty() { "" } else { "\n" };
        table.decor_mut().set_prefix(format!("{end}{blank}"));
        hosts.insert(name.as_str(), Item::Table(table));
        document.set_trailing("");
    } else {
        let hosts = hosts.as_table_like_mut()?;
        hosts.insert(name.as_str(), value(table.into_inline_table()));
    }
    Some(())
}

/// Removes a table with the comment directly above it. A comment that is separated by a blank line, such as the
/// file's heading, stays.
fn without_host(document: &mut DocumentMut, name: &HostName) -> Option<()> {
    let hosts = document.get_mut("hosts")?.as_table_like_mut()?;
    let removed = hosts.remove(name.as_str())?;
    let Some(table) = removed.as_table() else {
        return Some(());
    };
    let prefix = table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let Some(kept) = prefix.rfind("\n\n").map(|at| &prefix[..=at]).filter(|kept| !is_blank(kept))
    else {
        return Some(());
    };
    let after = positions(document)
        .into_iter()
        .filter(|(position, _)| Some(*position) > table.position())
        .min_by_key(|(position, _)| *position)
        .map(|(_, name)| name);
    let next = after.and_then(|name| document.get_mut("hosts")?.get_mut(&name)?.as_table_mut());
    if let Some(next) = next {
        let old = next.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
        let joined = format!("{kept}{old}");
        next.decor_mut().set_prefix(joined);
    } else {
        let joined = format!("{kept}{}", document.trailing().as_str().unwrap_or_default());
        document.set_trailing(joined);
    }
    Some(())
}

/// The position of each host's table in the document.
fn positions(document: &DocumentMut) -> Vec<(isize, String)> {
    let hosts = document.get("hosts").and_then(Item::as_table_like);
    let tables = hosts.into_iter().flat_map(TableLike::iter);
    let position = |item: &Item| item.as_table().and_then(Table::position);
    tables.filter_map(|(name, item)| Some((position(item)?, name.to_owned()))).collect()
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Enrolled, Spki};
    use lariat_base::name::EnrolmentId;

    const ENROLLED: Enrolled =
        Enrolled { enrolment: EnrolmentId([1; 16]), spki: Spki([2; 32]), next: None };

    #[test]
    fn enrolling_a_host_keeps_its_entries() {
        let text = "[hosts.a] # the first\naddress = \"10.0.0.1:7433\" # here\ntags = [ ] # none\n";
        let mut document: DocumentMut = text.parse().unwrap();
        let address = "10.0.0.1".parse().ok();
        let host = Host {
            address,
            tags: vec!["web".parse().unwrap()],
            via: None,
            proxy: None,
            enrolled: Some(ENROLLED),
        };
        renewed(&mut document, &"a".parse().unwrap(), &host).unwrap();
        insta::assert_snapshot!(document.to_string(), @r#"
        [hosts.a] # the first
        address = "10.0.0.1:7433" # here
        tags = ["web"] # none
        enrolment = "01010101010101010101010101010101"
        spki = "0202020202020202020202020202020202020202020202020202020202020202"
        "#);
        assert!(renewed(&mut document, &"b".parse().unwrap(), &host).is_none());
    }

    #[test]
    fn what_a_host_does_not_have_is_removed_and_its_tags_and_proxy_stay() {
        let text = "[hosts.a]\naddress = \"10.0.0.1:7433\"\nvia = \"gw\" # once\nproxy = \"nc %h %p\"\ntags = [\"web\"]\n\
                    enrolment = \"0\"\nspki = \"0\"\nspki_next = \"0\"\n\n[hosts.b]\nvia = \"gw\"\n";
        let mut document: DocumentMut = text.parse().unwrap();
        let host = Host {
            address: None,
            tags: vec!["web".parse().unwrap()],
            via: None,
            proxy: None,
            enrolled: Some(ENROLLED),
        };
        let name = "a".parse().unwrap();
        without_entries(&mut document, &name, &host).unwrap();
        renewed(&mut document, &name, &host).unwrap();
        insta::assert_snapshot!(document.to_string(), @r#"
        [hosts.a]
        proxy = "nc %h %p"
        tags = ["web"]
        enrolment = "01010101010101010101010101010101"
        spki = "0202020202020202020202020202020202020202020202020202020202020202"

        [hosts.b]
        via = "gw"
        "#);
    }

    fn edit(text: &str, steps: &[(&str, bool)]) -> String {
        let mut document: DocumentMut = text.parse().unwrap();
        for (name, add) in steps {
            let host = Host {
                address: "10.0.0.1".parse().ok(),
                tags: vec!["web".parse().unwrap()],
                via: None,
                proxy: None,
                enrolled: Some(ENROLLED),
            };
            let name = name.parse().unwrap();
            let done = if *add {
                with_host(&mut document, &name, &host)
            } else {
                without_host(&mut document, &name)
            };
            done.unwrap();
            // The result is parsed again before the next step.
            document = document.to_string().parse().unwrap();
        }
        document.to_string()
    }

    #[test]
    fn hosts_come_last_and_comments_stay_where_they_were() {
        let text = edit("# heading\n", &[("web1", true), ("a.b", true)]);
        insta::assert_snapshot!(text, @r#"
        # heading

        [hosts.web1]
        address = "10.0.0.1:7433"
        tags = ["web"]
        enrolment = "01010101010101010101010101010101"
        spki = "0202020202020202020202020202020202020202020202020202020202020202"

        [hosts."a.b"]
        address = "10.0.0.1:7433"
        tags = ["web"]
        enrolment = "01010101010101010101010101010101"
        spki = "0202020202020202020202020202020202020202020202020202020202020202"
        "#);
        let text = edit(&format!("{text}# at the end\n"), &[("a0", true)]);
        insta::assert_snapshot!(text, @r#"
        # heading

        [hosts.web1]
        address = "10.0.0.1:7433"
        tags = ["web"]
        enrolment = "01010101010101010101010101010101"
        spki = "0202020202020202020202020202020202020202020202020202020202020202"

        [hosts."a.b"]
        address = "10.0.0.1:7433"
        tags = ["web"]
        enrolment = "01010101010101010101010101010101"
        spki = "0202020202020202020202020202020202020202020202020202020202020202"
        # at the end

        [hosts.a0]
        address = "10.0.0.1:7433"
        tags = ["web"]
        enrolment = "01010101010101010101010101010101"
        spki = "0202020202020202020202020202020202020202020202020202020202020202"
        "#);
    }

    #[test]
    fn a_forgotten_host_leaves_the_heading_and_its_neighbours_alone() {
        let text = "# heading\n\n# about web1\n[hosts.web1]\nx = 1 # one\n\n# about web2\n\
                    [hosts.web2]\nx = 2\n# the end\n";
        insta::assert_snapshot!(edit(text, &[("web1", false)]), @r#"
        # heading

        # about web2
        [hosts.web2]
        x = 2
        # the end
        "#);
        insta::assert_snapshot!(edit(text, &[("web2", false)]), @r#"
        # heading

        # about web1
        [hosts.web1]
        x = 1 # one
        # the end
        "#);
        insta::assert_snapshot!(edit(text, &[("web2", false), ("web1", false)]), @r#"
        # heading
        # the end
        "#);
    }

    #[test]
    fn adding_and_forgetting_restores_the_file() {
        for text in ["", EMPTY, &edit(EMPTY, &[("web1", true)])] {
            assert_eq!(edit(text, &[("web2", true), ("web2", false)]).trim_end(), text.trim_end());
        }
    }

    #[test]
    fn a_table_written_inline_is_edited_too() {
        let text = edit("hosts = { a = { x = 1 } }\n", &[("b", true), ("a", false)]);
        assert!(text.starts_with("hosts = { b = { address = \"10.0.0.1:7433\""), "{text}");
    }
}
