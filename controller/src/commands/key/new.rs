//! `lariat key new`: makes another key here.

use std::process::ExitCode;

use lariat_base::name::KeyLabel;
use lariat_base::private;

use crate::context::Context;
use crate::error::CliError;
use crate::key::{self, ControllerKey};
use crate::output;

#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  lariat key new ci@build
  lariat --key ci@build key request @web > ci.req")]
pub(super) struct Args {
    /// The key's name: letters, digits and . _ @ + -
    #[arg(value_name = "LABEL")]
    label: KeyLabel,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let home = context.home()?;
    home.require_fleet()?;
    let _lock = home.lock()?;
    let label = &args.label;
    let path = key::file(&home, label);
    if path.exists() {
        let message = format!("key new: there is a key {label} already; nothing was changed");
        return Err(CliError::new(message).hint(format!("lariat --key {label} key list")));
    }
    let key = ControllerKey::named(label).map_err(|error| error.during("key new"))?;
    private::create(&path, key.to_toml().as_bytes())?;
    output::line(&format!(
        "Made the key {label}, {}.\nNext: lariat --key {label} key request > {label}.req",
        key.id
    ))?;
    Ok(ExitCode::SUCCESS)
}
