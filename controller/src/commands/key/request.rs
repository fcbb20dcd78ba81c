//! `lariat key request`: writes what somebody else needs to add this key to hosts. The key itself never travels.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process::ExitCode;

use lariat_wire::auth::proof::HostKeys;
use lariat_wire::auth::request_file::{HostRequest, RequestFile};
use lariat_wire::auth::request_sum::ReadOut;
use rustix::fs::{FileType, Mode, fchmod, fstat};

use crate::context::Context;
use crate::error::CliError;
use crate::inventory::Inventory;
use crate::key_chain::KeyChain;
use crate::output;
use crate::target::Targets;

#[derive(clap::Args)]
#[command(after_long_help = "\
The request goes to stdout; a file is made private. Whoever has it can pose as these hosts to you: send it over \
a safe channel, read ID:SUM out over another one, which it prints, and rotate your key once it is added.

Examples:
  lariat key request > bob.req
  lariat --key ci@build key request @web > ci.req")]
pub(super) struct Args {
    /// Which hosts [default: all that are enrolled]
    ///
    /// Such as web1, web[01-20], 'web*', @tag or all; lariat hosts --help explains targets.
    #[arg(value_name = "TARGET")]
    target: Option<Targets>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let home = context.home()?;
    let inventory = Inventory::load(&home)?;
    let keys = KeyChain::load(&home, context.key.as_ref())?;
    let key = keys.current();
    let mut hosts = Vec::new();
    if let Some(target) = &args.target {
        for chosen in target.select(&inventory)? {
            hosts.push((inventory.enrolled(&chosen.host)?.1.enrolment, chosen.host));
        }
    } else {
        let enrolled = inventory.iter().filter_map(|(host, known)| Some((known.enrolled?, host)));
        hosts.extend(enrolled.map(|(enrolled, host)| (enrolled.enrolment, host.clone())));
    }
    if hosts.is_empty() {
        return Err(CliError::new("key request: no host is enrolled")
            .hint("lariat fleet import FILE, with what another operator has exported"));
    }
    let stdout = io::stdout();
    if stdout.is_terminal() {
        let message = "key request: it is as secret as a key, and not for a screen";
        return Err(CliError::new(message).hint("lariat key request > FILE"));
    }
    let failed = |e: rustix::io::Errno| CliError::stdout(&e.into());
    let stat = fstat(stdout.as_fd()).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        fchmod(stdout.as_fd(), Mode::RUSR | Mode::WUSR).map_err(failed)?;
    }
    let count = hosts.len();
    let hosts = hosts.into_iter().map(|(enrolment, host)| {
        let verifier = HostKeys::derive(&key.secret, &host, &enrolment).verifier();
        HostRequest { host, enrolment, verifier }
    });
    let request = RequestFile { id: key.id, label: key.label.clone(), hosts: hosts.collect() };
    output::bytes(request.to_toml().as_bytes())?;
    output::note(&format!(
        "A request of {} for {count} host(s). Read this out to whoever adds it:",
        key.label
    ));
    output::note(&format!("  {}", ReadOut::of(&request)));
    Ok(ExitCode::SUCCESS)
}
