//! `lariatd audit verify`: whether the chain in the state directory is whole.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use lariat_base::audit::{Verifier, Whole, Wrong};
use lariat_base::escape::escape;
use lariat_base::os_error::io_error;

use super::{files, recovery};
use crate::config::Config;

/// The verdict "no".
const BROKEN: u8 = 1;

/// There is no verdict.
const FAILED: u8 = 255;

/// Bytes that are read at a time.
const PIECE: usize = 1024 * 1024;

/// Why there is no chain to be sure of.
enum Failed {
    Wrong(Wrong),
    Other(String),
}

/// Verifies the chain of the agent with this configuration, and tells the verdict: that it is whole to `out`, or
/// what is wrong first to `err`.
pub fn verify(config: &Path, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let directory = match Config::load(config) {
        Ok(config) => recovery::directory(&config.state),
        Err(error) => {
            writeln!(err, "lariatd: {}", escape(error.to_string().as_bytes()))?;
            return Ok(FAILED.into());
        }
    };
    let shown = escape(directory.display().to_string().as_bytes());
    match read(&directory) {
        Ok(Whole { chain, first, last, cut, .. }) => {
            writeln!(out, "{shown}: lines {first} to {last} of chain {chain} are whole")?;
            if cut > 0 {
                writeln!(out, "{shown}: {cut} bytes behind them are an incomplete line")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(Failed::Wrong(wrong)) => {
            writeln!(err, "lariatd: {shown}/{wrong}")?;
            Ok(BROKEN.into())
        }
        Err(Failed::Other(why)) => {
            writeln!(err, "lariatd: {shown}: {why}")?;
            Ok(FAILED.into())
        }
    }
}

fn read(directory: &Path) -> Result<Whole, Failed> {
    let io = |error: io::Error| Failed::Other(io_error(&error));
    let mut verifier = Verifier::default();
    let mut buffer = vec![0; PIECE];
    for name in files::list(directory).map_err(io)? {
        verifier.file(name).map_err(Failed::Wrong)?;
        let mut file = match File::open(directory.join(name.to_string())) {
            // The agent drops old files, and begins new ones.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failed::Other(format!("{name} was dropped just now; try again")));
            }
            file => file.map_err(io)?,
        };
        loop {
            match file.read(&mut buffer).map_err(io)? {
                0 => break,
                len => {
                    verifier.bytes(&buffer[..len], &mut |_, _| ()).map_err(Failed::Wrong)?;
                }
            }
        }
    }
    match verifier.finish().map_err(Failed::Wrong)? {
        Whole { last: 0, .. } => Err(Failed::Other("there is no audit here yet".to_owned())),
        whole => Ok(whole),
    }
}
