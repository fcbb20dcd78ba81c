//! `lariat fleet export`

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use lariat_base::escape::escape;
use lariat_base::os_error::io_error;
use lariat_base::private;

use super::file::fingerprint;
use crate::context::Context;
use crate::error::CliError;
use crate::home::CA_CERTIFICATE;
use crate::inventory::{Inventory, edit};
use crate::output;
use crate::revocations::Revocations;
use crate::seen::CertificateEnds;

#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  lariat fleet export fleet.toml
  lariat fleet export - | ssh bob@laptop 'cat > fleet.toml'

Nothing in the file is secret. Read the fingerprint out to whoever imports it.")]
pub(super) struct Args {
    /// The file to write, or - for stdout
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let home = context.home()?;
    let inventory = Inventory::load(&home)?;
    let ca = home.ca_certificate()?;
    let pem = private::read_public(&home.path().join(CA_CERTIFICATE))?;
    let revocations = Revocations::load(&home)?;
    let enrolled = || inventory.iter().filter(|(_, host)| host.enrolled.is_some());
    let hosts = edit::to_toml(enrolled());
    let ends = CertificateEnds::load(&home);
    let ends: BTreeMap<_, _> =
        enrolled().filter_map(|(name, host)| Some((name, ends.of(name, host)?))).collect();
    let count = enrolled().count();
    // The hosts come last, so that a file that was cut has fewer than it says.
    let text = format!(
        "# A fleet of lariat, for another operator: lariat fleet import FILE. Nothing in it is secret.\n\
         host_count = {count}\nca = '''\n{}\n'''\n\n{}\n{}\n{hosts}",
        pem.trim(),
        toml::to_string(&revocations)?,
        toml::to_string(&BTreeMap::from([("expires", ends)]))?,
    );
    let path = escape(args.file.as_os_str().as_bytes());
    let told = |place: &str, file: &str| {
        format!(
            "Wrote {count} host(s) to {place}. The CA's fingerprint, to be read out:\n  {}\n\
             Next, on the other machine: lariat fleet import {file}",
            fingerprint(&ca)
        )
    };
    if args.file.as_os_str() == "-" {
        output::bytes(text.as_bytes())?;
        told("stdout", "FILE").lines().for_each(output::note);
        return Ok(ExitCode::SUCCESS);
    }
    std::fs::write(&args.file, text)
        .map_err(|e| CliError::new(format!("fleet export: write {path}: {}", io_error(&e))))?;
    output::line(&told(&path, &path))?;
    Ok(ExitCode::SUCCESS)
}
