//! `lariat man`: writes the man pages, one per verb, and those of lariatd and the file formats.

mod page;
mod roff;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lariat_base::os_error::io_error;

use crate::context::Context;
use crate::error::CliError;

/// The pages that are written by hand.
const WRITTEN: [(&str, &str); 5] = [
    ("lariatd.8", include_str!("../../../../docs/man/lariatd.8")),
    ("lariat-hosts.toml.5", include_str!("../../../../docs/man/lariat-hosts.toml.5")),
    ("lariat-agent.toml.5", include_str!("../../../../docs/man/lariat-agent.toml.5")),
    ("lariat-keyring.toml.5", include_str!("../../../../docs/man/lariat-keyring.toml.5")),
    ("lariat-plan.toml.5", include_str!("../../../../docs/man/lariat-plan.toml.5")),
];

#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  lariat man ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// The directory, made when it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let mut command = (context.syntax)().disable_help_subcommand(true);
    command.build();
    write_all(&command, &args.directory).map_err(|e| {
        let shown = args.directory.display();
        CliError::new(format!("write man pages to {shown}: {}", io_error(&e)))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn write_all(command: &clap::Command, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (name, text) in WRITTEN {
        let directory = section(directory, name);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(name), text)?;
    }
    verb(command, directory)
}

/// Pages of other sections go beside a directory `man1`, where `man` looks for them.
fn section(directory: &Path, name: &str) -> PathBuf {
    match (directory.ends_with("man1"), name.rsplit('.').next()) {
        (true, Some(section)) => directory.with_file_name(format!("man{section}")),
        _ => directory.to_owned(),
    }
}

/// The pages of a verb and of those below it.
fn verb(command: &clap::Command, directory: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    fs::write(directory.join(format!("{name}.1")), page::page(command)?)?;
    let mut below = command.get_subcommands().filter(|below| !below.is_hide_set());
    below.try_for_each(|below| verb(below, directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sections_have_directories_of_their_own_beside_man1() {
        let of = |directory: &str, name| section(Path::new(directory), name);
        assert_eq!(of("/share/man/man1", "lariatd.8"), Path::new("/share/man/man8"));
        assert_eq!(of("man1/", "lariat-plan.toml.5"), Path::new("man5"));
        assert_eq!(of("/tmp/pages", "lariatd.8"), Path::new("/tmp/pages"));
    }
}
