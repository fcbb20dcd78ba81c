//! A file through a bare TCP connection: no encryption, no checks, no reports of errors.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Tools, Way};
use crate::machine::output;
use crate::measure::{Meter, Sample};
use crate::stage::Stage;

/// The OpenBSD netcat; others have other options.
pub(crate) fn find(tools: &Tools) -> Result<PathBuf, String> {
    let path = tools.get("nc")?;
    let version = output(Command::new(&path).arg("-h"));
    if version.contains("OpenBSD") { Ok(path) } else { Err("nc is not OpenBSD's".to_owned()) }
}

/// Copies one file, and measures it.
pub(crate) fn copy(
    stage: &Stage,
    nc: &Path,
    way: Way,
    from: &Path,
    to: &Path,
) -> Result<Sample, String> {
    let source = || File::open(from).map_err(|e| format!("open {}: {e}", from.display()));
    let target = File::create(to).map_err(|e| format!("make {}: {e}", to.display()))?;
    let mut server = stage.guard.command(nc);
    // It prints the port on which it listens. Because it reads no input, it can't wait for its end either.
    server.args(if way == Way::Push { ["-nvdl"].as_slice() } else { &["-nvNl"] });
    server.args(["127.0.0.1", "0"]).stderr(Stdio::piped());
    match way {
        Way::Push => server.stdout(target.try_clone().map_err(|e| e.to_string())?),
        Way::Pull => server.stdin(source()?).stdout(Stdio::null()),
    };
    let mut server = server.spawn().map_err(|e| format!("nc can't be started: {e}"))?;
    let mut said = String::new();
    let mut errors = BufReader::new(server.stderr.take().expect("it is piped"));
    let line = errors.read_line(&mut said);
    let port = said.split_whitespace().last().filter(|last| last.parse::<u16>().is_ok());
    let Some(port) = port.filter(|_| line.is_ok()) else {
        let _ = server.kill();
        let _ = server.wait();
        return Err(format!("nc does not say where it listens: {said}"));
    };

    // The meter redirects a client's stdout to a file, so a client that receives needs a shell that redirects
    // the data to its destination.
    let mut client = stage.guard.command(if way == Way::Push { nc } else { Path::new("/bin/sh") });
    match way {
        Way::Push => client.args(["-nN", "127.0.0.1", port]).stdin(source()?),
        Way::Pull => client.args(["-c", "exec \"$1\" -nd 127.0.0.1 \"$2\" >\"$3\"", "sh"]).args([
            nc.as_os_str(),
            port.as_ref(),
            to.as_os_str(),
        ]),
    };
    let meter: Meter = stage.local_meter();
    let measured = meter.run_against(&mut client, Some(server));
    drop(errors);
    measured.map(|measured| measured.sample)
}
