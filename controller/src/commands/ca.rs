//! `lariat ca`: the CA of the fleet.

use std::process::ExitCode;

use clap::Subcommand;
use lariat_base::date;
use lariat_certs::inspect::CertificateInfo;
use serde::Serialize;

use super::fleet::fingerprint;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{self, json};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: CaCommand,
}

#[derive(Subcommand)]
enum CaCommand {
    /// Show the CA's fingerprint, and until when it is valid
    Show(ShowArgs),
}

#[derive(clap::Args)]
struct ShowArgs {
    /// A JSON object: fingerprint, not_after
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    fingerprint: String,
    not_after: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let CaCommand::Show(ShowArgs { json }) = args.command;
    let home = context.home()?;
    home.require_fleet()?;
    let certificate = home.ca_certificate()?;
    let info = CertificateInfo::parse(&certificate)
        .map_err(|error| CliError::new(error.to_string()).during("ca show"))?;
    let not_after = u64::try_from(info.not_after).ok().and_then(date::format);
    let shown = Shown { fingerprint: fingerprint(&certificate), not_after };
    if json {
        output::bytes(&json::line(&shown)?)?;
    } else {
        let end = shown.not_after.as_deref().unwrap_or("the year 9999 and beyond");
        output::line(&format!("fingerprint  {}\nvalid until  {end}", shown.fingerprint))?;
    }
    Ok(ExitCode::SUCCESS)
}
