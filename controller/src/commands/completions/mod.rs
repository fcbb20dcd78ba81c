//! `lariat completions`: prints a shell's completions, which call `lariat complete`.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::context::Context;
use crate::error::CliError;
use crate::output;

#[derive(clap::Args)]
#[command(after_long_help = "\
Hosts, @tags, keys and jobs are completed from what is on this machine; no host is contacted.

Examples:
  lariat completions bash > ~/.local/share/bash-completion/completions/lariat
  lariat completions zsh > ~/.zfunc/_lariat
  lariat completions fish > ~/.config/fish/completions/lariat.fish")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(Args { shell }: Args, _: &Context) -> Result<ExitCode, CliError> {
    output::bytes(match shell {
        Shell::Bash => include_bytes!("lariat.bash"),
        Shell::Zsh => include_bytes!("lariat.zsh"),
        Shell::Fish => include_bytes!("lariat.fish"),
    })?;
    Ok(ExitCode::SUCCESS)
}
