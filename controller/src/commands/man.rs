//! `lariat man`: the man pages, one a verb.

use std::path::PathBuf;
use std::process::ExitCode;

use lariat_base::os_error::io_error;

use crate::context::Context;
use crate::error::CliError;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lariat man ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// The directory, made when it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let directory = args.directory;
    std::fs::create_dir_all(&directory)
        .and_then(|()| clap_mangen::generate_to((context.syntax)(), &directory))
        .map_err(|e| {
            CliError::new(format!("write man pages to {}: {}", directory.display(), io_error(&e)))
        })?;
    Ok(ExitCode::SUCCESS)
}
