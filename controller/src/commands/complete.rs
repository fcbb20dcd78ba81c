//! `lariat complete`, which the completions of shells call: prints what can be typed next.

use std::fmt::Write;
use std::process::ExitCode;

use lariat_base::escape::escape;

use crate::completion::{self, Candidate, Completion, Files};
use crate::context::Context;
use crate::error::CliError;
use crate::output;

// Each line is a word, a tab, and what it means; `:files` or `:directories` stand for those.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The command line up to the cursor
    #[arg(long, value_name = "LINE", conflicts_with = "words")]
    line: Option<String>,

    /// What the shell replaces of the line's last word: its end
    #[arg(long, value_name = "END", default_value = "", requires = "line")]
    end: String,

    /// The words after the program's name up to the cursor
    #[arg(last = true, value_name = "WORD")]
    words: Vec<String>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let words = match &args.line {
        Some(line) => completion::split(line).into_iter().skip(1).collect(),
        None => args.words,
    };
    let Completion { candidates, files } = completion::complete(&(context.syntax)(), &words);
    let kept = match &args.line {
        Some(_) => words.last().and_then(|word| word.strip_suffix(&args.end)).unwrap_or_default(),
        None => "",
    };
    let mut text = String::new();
    for Candidate { value, help } in candidates {
        let value = value.strip_prefix(kept).unwrap_or(&value);
        let (value, help) = (escape(value.as_bytes()), escape(help.as_bytes()));
        writeln!(text, "{value}\t{help}").expect("a String takes what is written to it");
    }
    text.push_str(match files {
        Some(Files::Any) => ":files\n",
        Some(Files::Directories) => ":directories\n",
        None => "",
    });
    output::bytes(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
