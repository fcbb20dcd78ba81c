//! `lariat completions`: a shell's completions.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::context::Context;
use crate::error::CliError;
use crate::output;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lariat completions bash > ~/.local/share/bash-completion/completions/lariat
  lariat completions zsh > ~/.zfunc/_lariat
  lariat completions fish > ~/.config/fish/completions/lariat.fish")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(Args { shell }: Args, context: &Context) -> Result<ExitCode, CliError> {
    // Not straight to stdout: the generator panics when that is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut (context.syntax)(), "lariat", &mut script);
    output::bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}
