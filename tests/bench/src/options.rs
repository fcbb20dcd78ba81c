//! The benchmark's command line.

use std::path::PathBuf;

use clap::Parser;
use lariat_base::units;

/// Compares lariat with scp, sftp, rsync, nc, cp and ssh on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub(crate) struct Options {
    /// Cases to run: all of them if none is named (see --list).
    #[arg(value_name = "CASE")]
    pub(crate) cases: Vec<String>,

    /// List the cases.
    #[arg(long)]
    pub(crate) list: bool,

    /// Rounds of each case.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// Rounds of each case whose rounds take milliseconds.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pairs: u32,

    /// Size of the largest file; other cases use a fraction of it.
    #[arg(long, default_value = "2G", value_parser = size)]
    pub(crate) size: u64,

    /// Where the files are: a tmpfs with room for three of the largest.
    #[arg(long, default_value = "/dev/shm")]
    pub(crate) directory: PathBuf,

    /// Only contenders whose name contains this, beside the first.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,

    /// Write the figures to this Markdown file, and a plot beside it.
    #[arg(long, value_name = "FILE.md")]
    pub(crate) out: Option<PathBuf>,
}

/// The smallest size that leaves every case something to do, in bytes.
const SMALLEST: u64 = 16 << 20;

fn size(text: &str) -> Result<u64, String> {
    let size = units::parse_rate(text).map_err(|_| "a size is such as 256M or 2G".to_owned())?;
    if size < SMALLEST {
        return Err("less than 16M measures nothing but the start of processes".to_owned());
    }
    // Whole pages, so that edits do not overlap.
    Ok(size / 4096 * 4096)
}
