//! `--dial`: the gateways of a new host are asked to take its connections.

use lariat_base::name::HostName;
use lariat_base::secret::Secret;

use crate::bundle::Dials;
use crate::context::Context;
use crate::error::CliError;
use crate::fleet::{Fleet, ReachOptions};
use crate::home::{Home, HomeLock};
use crate::park::{self, Entries, Entry, Gateway};
use crate::runtime::block_on;
use crate::target::Chosen;

/// Gateways that take a host's connections.
pub(super) struct Dialled {
    /// What the host dials them with.
    pub(super) dials: Dials,
    entries: Vec<(HostName, Entry)>,
}

/// Asks gateways to take connections of a host, with a new key; `None` if there are no gateways.
pub(super) fn ask(
    host: &HostName,
    gateways: &[Gateway],
    context: &Context,
) -> Result<Option<Dialled>, CliError> {
    if gateways.is_empty() {
        return Ok(None);
    }
    let fleet = Fleet::load(context, &ReachOptions::default())?;
    let key = Secret::generate()?;
    let (mut entries, mut places) = (Vec::new(), Vec::new());
    for Gateway { name, address } in gateways {
        if name == host {
            return Err(CliError::new("a host can't be its own gateway"));
        }
        let (known, enrolled) = fleet.inventory.enrolled(name)?;
        let address = address.as_ref().or(known).ok_or_else(|| {
            CliError::new(format!("{name} has no address where it could be dialled"))
                .hint(format!("--dial {name}=ADDR"))
        })?;
        places.push(format!("{name}={address}"));
        let gateway = fleet.host(&Chosen { host: name.clone(), user: None })?;
        let entry = block_on(park::add(&gateway, enrolled, host, &key))?;
        entries.push((name.clone(), entry));
    }
    Ok(Some(Dialled { dials: Dials { gateways: places, key }, entries }))
}

impl Dialled {
    /// Records what the gateways have, for the day that one is enrolled anew.
    pub(super) fn record(self, home: &Home, lock: &HomeLock) -> Result<(), CliError> {
        for (gateway, entry) in self.entries {
            let mut entries = Entries::load(home, &gateway)?;
            entries.set(entry);
            entries.save(home, lock, &gateway)?;
        }
        Ok(())
    }
}
