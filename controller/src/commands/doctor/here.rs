//! What is found on this machine.

use std::time::SystemTime;

use lariat_base::certificate::CertificateInfo;
use lariat_base::clock::signed_seconds;
use lariat_wire::protocol::doctor::Finding;

use super::judge;
use crate::context::Context;
use crate::error::CliError;
use crate::fleet::{Fleet, ReachOptions};
use crate::home::Home;
use crate::revocations::Revocations;

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
    let open = revocations.revoked.iter().filter(|revocation| !revocation.pending.is_empty());
    open.map(|revocation| {
        let hosts: Vec<&str> = revocation.pending.iter().map(|at| at.host.as_str()).collect();
        let (name, hosts) = (&revocation.name, hosts.join(","));
        let todo = format!("lariat ping {hosts}: the next contact revokes it");
        Finding::warn(format!("{name} was revoked, but may still log in to {hosts}"), todo)
    })
    .collect()
}
