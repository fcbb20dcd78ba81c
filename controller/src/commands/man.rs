//! `lariat man`: the man pages, one a verb.

use std::path::PathBuf;
use std::process::ExitCode;

use lariat_base::os_error::io_error;

use crate::cli;
use crate::context::Context;
use crate::error::CliError;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lariat man ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// The folder, made when it is missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(args: Args, _: &Context) -> Result<ExitCode, CliError> {
    let folder = args.folder;
    std::fs::create_dir_all(&folder)
        .and_then(|()| clap_mangen::generate_to(cli::command(), &folder))
        .map_err(|e| {
            CliError::new(format!("write man pages to {}: {}", folder.display(), io_error(&e)))
        })?;
    Ok(ExitCode::SUCCESS)
}
