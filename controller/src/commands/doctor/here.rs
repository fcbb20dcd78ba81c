//! What is found on this machine.

use std::collections::BTreeSet;
use std::time::SystemTime;

use lariat_base::certificate::CertificateInfo;
use lariat_base::clock::signed_seconds;
use lariat_base::name::{HostName, KeyLabel};
use lariat_wire::protocol::doctor::Finding;

use super::judge;
use crate::context::Context;
use crate::error::CliError;
use crate::fleet::{Fleet, ReachOptions};
use crate::home::Home;
use crate::inventory::Inventory;
use crate::key;
use crate::revocations::{PendingHost, Revocation, Revocations};
use crate::rotation::left_behind;
use crate::target::fold;

/// Free space below which the fleet's directory is worth a warning, in bytes.
const LITTLE: u64 = 64 * 1024 * 1024;

/// Examines the fleet's directory: what is in it, who can read it, and what is still to be done.
pub(super) fn examine(context: &Context, connect: &ReachOptions) -> Vec<Finding> {
    let loaded = context.home().and_then(|home| {
        home.require_fleet()?;
        let fleet = Fleet::load(context, connect)?;
        Ok((home, fleet))
    });
    let (home, fleet) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return vec![bad(&error)],
    };
    let hosts = fleet.inventory.iter().count();
    let mut findings = vec![Finding::ok(format!("{}: {hosts} hosts", home.path().display()))];
    findings.push(ca(&home));
    findings.extend(pending(&home));
    findings.extend(rotations(&home, &fleet.inventory));
    let disk = rustix::fs::statvfs(home.path()).ok();
    let free = disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if let Some(free) = free.filter(|free| *free < LITTLE) {
        let text = format!("{}: {} MiB are free", home.path().display(), free / (1024 * 1024));
        findings
            .push(Finding::warn(text, "make room: what hosts show of their records is kept there"));
    }
    findings
}

/// An error says itself what to do.
pub(super) fn bad(error: &CliError) -> Finding {
    Finding::bad(error.line(), "")
}

fn ca(home: &Home) -> Finding {
    let info = home.ca_certificate().and_then(|certificate| {
        CertificateInfo::parse(&certificate).map_err(|error| CliError::new(error.to_string()))
    });
    match info {
        Ok(info) => {
            let todo = "no host's certificate is valid for longer: plan a new fleet".to_owned();
            judge::certificate("the CA", info.not_after, signed_seconds(SystemTime::now()), todo)
        }
        Err(error) => bad(&error.during("the CA")),
    }
}

/// Keys that were revoked, though not on all hosts.
fn pending(home: &Home) -> Vec<Finding> {
    let revocations = match Revocations::load(home) {
        Ok(revocations) => revocations,
        Err(error) => return vec![bad(&error)],
    };
    let mut findings = Vec::new();
    for Revocation { name, pending, back, .. } in &revocations.revoked {
        let joined = |hosts: &BTreeSet<PendingHost>| {
            hosts.iter().map(|at| at.host.as_str()).collect::<Vec<_>>().join(",")
        };
        if !pending.is_empty() {
            let hosts = joined(pending);
            let todo = format!("lariat ping {hosts}: the next contact revokes it");
            let text = format!("{name} was revoked, but may still log in to {hosts}");
            findings.push(Finding::warn(text, todo));
        }
        if !back.is_empty() {
            let hosts = joined(back);
            // Another key may have its label by now, so the name alone is not what to revoke.
            let todo = format!("lariat key list {hosts}, which says what to revoke");
            findings.push(Finding::bad(
                format!("{name} was revoked, and was seen again on {hosts}"),
                todo,
            ));
        }
    }
    findings
}

/// Keys that are being replaced, though not on all hosts.
fn rotations(home: &Home, inventory: &Inventory) -> Vec<Finding> {
    let finding = |label: KeyLabel| {
        let hosts = match left_behind(home, &label, inventory) {
            Ok(hosts) => hosts,
            Err(error) => return Some(bad(&error)),
        };
        let hosts = fold(hosts.iter().map(HostName::as_str));
        let text = format!("{label} was rotated, but not yet on {hosts}");
        let todo = format!("lariat --key {label} key rotate {hosts}");
        (!hosts.is_empty()).then(|| Finding::warn(text, todo))
    };
    match key::labels(home) {
        Ok(labels) => labels.into_iter().filter_map(finding).collect(),
        Err(error) => vec![bad(&error)],
    }
}
