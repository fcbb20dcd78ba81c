//! `lariat fleet import`: makes a home of what another operator has exported, or brings one up to date.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use lariat_base::name::{HostName, KeyLabel};
use lariat_base::private;

use super::file::{Exported, fingerprint};
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::home::{CA_CERTIFICATE, HOSTS, Home, KEYS};
use crate::inventory::{Enrolled, Host, Inventory, edit};
use crate::key::{self, ControllerKey, default_label};
use crate::new_home;
use crate::output;
use crate::revocations::{Revocation, Revocations};
use crate::seen::CertificateEnds;
use crate::target::fold;

#[derive(clap::Args)]
#[command(after_long_help = "\
Somebody who exchanges the file on the way could make you connect to hosts of another fleet: compare the \
fingerprint with what the other operator reads out. Hosts are merged into a home of the same fleet; a home of \
another fleet is refused.

Examples:
  lariat fleet import fleet.toml
  lariat fleet import fleet.toml --ca 3f2a... --label bob@laptop")]
pub(super) struct Args {
    /// The file that was exported
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The CA's fingerprint, as it was read out
    ///
    /// Without it, it is asked for at a terminal.
    #[arg(long, value_name = "FINGERPRINT")]
    ca: Option<Fingerprint>,

    /// Label of your new key [default: USER@HOSTNAME]
    #[arg(long, value_name = "LABEL")]
    label: Option<KeyLabel>,

    /// Accept changes and revocations without asking
    ///
    /// These are changes of hosts that are here already, and pending revocations.
    #[arg(long)]
    yes: bool,
}

/// A fingerprint as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint(String);

impl FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let digits = text.chars().filter(|c| *c != ':' && !c.is_whitespace());
        let digits = digits.collect::<String>().to_ascii_lowercase();
        let fits = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if fits { Ok(Self(digits)) } else { Err("a fingerprint is 64 hexadecimal digits") }
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    import(args, context).map_err(|error| error.during("fleet import"))?;
    Ok(ExitCode::SUCCESS)
}

fn import(args: &Args, context: &Context) -> Result<(), CliError> {
    let exported = Exported::read(&args.file)?;
    let print = fingerprint(&exported.ca);
    if let Some(Fingerprint(given)) = args.ca.as_ref().filter(|given| given.0 != print) {
        let message =
            format!("the file is of the CA {print}, and not of {given}; nothing was changed");
        return Err(CliError::new(message).next("somebody may have exchanged it: ask for another"));
    }
    let home = context.home()?;
    if home.has_fleet()? {
        merge(args, &home, &exported)?;
        return take_ends(context, &home, &exported);
    }
    if args.ca.is_none() {
        let question = format!(
            "The CA's fingerprint is {print}. Is that what the other operator has read out?"
        );
        confirm(&question, "--ca FINGERPRINT")?;
    }
    let label = args.label.clone().unwrap_or_else(default_label);
    let key = ControllerKey::named(&label)?;
    new_home::create(&home, |staging| make(staging, &key, &exported))?;
    take_revocations(args, &home, &exported)?;
    take_ends(context, &home, &exported)?;
    let count = exported.hosts.iter().count();
    output::line(&format!(
        "Made a home of this fleet in {}, of {count} host(s), with the key {label}, {}.\n\
         Next: lariat key request > {label}.req, for whoever may add keys; read out what it prints.",
        home.path().display(),
        key.id
    ))
}

fn make(staging: &Path, key: &ControllerKey, exported: &Exported) -> Result<(), CliError> {
    private::create_directory(&staging.join(KEYS))?;
    private::create(&staging.join(KEYS).join(key.file_name()), key.to_toml().as_bytes())?;
    private::create(&staging.join(CA_CERTIFICATE), exported.ca_pem.as_bytes())?;
    let hosts = format!("{}\n{}", edit::EMPTY, edit::to_toml(exported.hosts.iter()));
    private::create(&staging.join(HOSTS), hosts.as_bytes())?;
    Ok(())
}

/// Adds the hosts that are new. What differs of others is shown first, for it is what a false export would change.
fn merge(args: &Args, home: &Home, exported: &Exported) -> Result<(), CliError> {
    let inventory = Inventory::load(home)?;
    if home.ca_certificate()? != exported.ca {
        let message = format!("{} is of another fleet; nothing was changed", home.path().display());
        return Err(CliError::new(message).hint("lariat --home DIR fleet import FILE"));
    }
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    for (name, host) in exported.hosts.iter() {
        if !inventory.contains(name) {
            new.push((name.clone(), host.clone()));
            continue;
        }
        let old = inventory.host(name)?;
        let differs = differences(name, old, host);
        if !differs.is_empty() {
            differs.iter().for_each(|line| output::note(line));
            let (tags, proxy) = (old.tags.clone(), old.proxy.clone());
            changed.push((name.clone(), Host { tags, proxy, ..host.clone() }));
        }
    }
    if !changed.is_empty() && !args.yes {
        let question = format!("Take what differs of {} host(s)?", changed.len());
        confirm(&question, "--yes")?;
    }
    let (added, renewed) = (new.len(), changed.len());
    let lock = home.lock()?;
    edit::replace_all(home, &lock, &[new, changed].concat())?;
    if let Some(label) = args.label.as_ref().filter(|label| !key::file(home, label).exists()) {
        let key = ControllerKey::named(label)?;
        private::create(&key::file(home, label), key.to_toml().as_bytes())?;
    }
    drop(lock);
    take_revocations(args, home, exported)?;
    output::line(&format!("Added {added} host(s), changed {renewed}."))
}

/// Takes over which keys were revoked. What would be done at hosts because of it is shown first: a false export must not
/// have this key revoke another.
fn take_revocations(args: &Args, home: &Home, exported: &Exported) -> Result<(), CliError> {
    let ours = Revocations::load(home)?;
    let is_ours = |new: &&Revocation| {
        let of_name = ours.revoked.iter().filter(|old| old.name == new.name);
        new.pending.is_empty()
            || of_name.into_iter().any(|old| old.pending.is_superset(&new.pending))
    };
    let due: Vec<_> = exported.revoked.iter().filter(|new| !is_ours(new)).collect();
    for Revocation { name, pending, .. } in &due {
        let hosts = fold(pending.iter().map(|pending| pending.host.as_str()));
        output::note(&format!("{name} was revoked, and is still to be taken from {hosts}"));
    }
    let takes = due.is_empty() || args.yes || {
        let question = "Do that at the next contact, if your key may?";
        confirm(question, "--yes").inspect_err(|error| output::note(&error.line())).is_ok()
    };
    let lock = home.lock()?;
    let mut revocations = Revocations::load(home)?;
    for new in &exported.revoked {
        let pending = if takes { new.pending.clone() } else { BTreeSet::new() };
        // Where a key was seen again is for this machine to see.
        let back = BTreeSet::new();
        revocations.begin(Revocation { pending, back, force: false, ..new.clone() });
    }
    if !exported.revoked.is_empty() {
        revocations.save(home, &lock)?;
    }
    Ok(())
}

/// Takes over until when certificates are valid, of hosts that this machine has not seen itself.
fn take_ends(context: &Context, home: &Home, exported: &Exported) -> Result<(), CliError> {
    let (seen, known) = (context.seen.keep_in(home), CertificateEnds::load(home));
    let inventory = Inventory::load(home)?;
    for (name, host) in inventory.iter().filter(|(name, host)| known.of(name, host).is_none()) {
        let is_same = |enrolled: &Enrolled| {
            let other = exported.hosts.enrolled(name);
            other.is_ok_and(|(_, other)| other.enrolment == enrolled.enrolment)
        };
        if let (Some(enrolled), Some(end)) = (host.enrolled, exported.expires.get(name))
            && is_same(&enrolled)
        {
            seen.certificate_ends(name, enrolled.enrolment, *end);
        }
    }
    Ok(())
}

/// What an import would change of a host that is here, a line each.
fn differences(name: &HostName, old: &Host, new: &Host) -> Vec<String> {
    let enrolment =
        |host: &Host| host.enrolled.map(|Enrolled { enrolment, .. }| enrolment.to_string());
    let spki = |host: &Host| host.enrolled.map(|Enrolled { spki, .. }| hex::encode(spki.0));
    let next = |host: &Host| host.enrolled?.next.map(|spki| hex::encode(spki.0));
    let via = |host: &Host| host.via.as_ref().map(ToString::to_string);
    let address = |host: &Host| host.address.as_ref().map(ToString::to_string);
    let none = || "none".to_owned();
    let values = [
        ("via", via(old), via(new)),
        ("address", address(old), address(new)),
        ("enrolment", enrolment(old), enrolment(new)),
        ("key", spki(old), spki(new)),
        ("next key", next(old), next(new)),
    ];
    let differ = values.into_iter().filter(|(_, old, new)| old != new);
    differ
        .map(|(what, old, new)| {
            format!("{name}: {what} {} -> {}", old.unwrap_or_else(none), new.unwrap_or_else(none))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_in_any_form() {
        let plain = "0a".repeat(32);
        let colons = vec!["0A"; 32].join(":");
        assert_eq!(colons.parse::<Fingerprint>(), Ok(Fingerprint(plain.clone())));
        assert!(plain[1..].parse::<Fingerprint>().is_err());
        assert!("xx".repeat(32).parse::<Fingerprint>().is_err());
    }

    #[test]
    fn what_a_false_export_would_change_is_named() {
        let host = |address: &str, enrolled| Host {
            address: address.parse().ok(),
            tags: Vec::new(),
            via: None,
            proxy: None,
            enrolled,
        };
        let enrolled = |byte| {
            let enrolment = lariat_base::name::EnrolmentId([byte; 16]);
            Some(Enrolled { enrolment, spki: crate::inventory::Spki([7; 32]), next: None })
        };
        let name = "web1".parse().unwrap();
        let old = host("10.0.0.1", enrolled(1));
        assert!(differences(&name, &old, &old).is_empty());
        let lines = differences(&name, &old, &host("10.6.6.6", enrolled(2)));
        insta::assert_snapshot!(lines.join("\n"), @r"
        web1: address 10.0.0.1:7433 -> 10.6.6.6:7433
        web1: enrolment 01010101010101010101010101010101 -> 02020202020202020202020202020202
        ");
    }
}
