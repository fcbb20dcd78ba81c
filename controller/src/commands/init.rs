//! `lariat init`: makes a fleet.
//!
//! All of it is made in a directory of its own inside the home, `hosts.toml` last, and then moved into
//! place, `hosts.toml` last again. So an interrupted `init` has either moved nothing, and what it
//! made is thrown away, or had finished making, and the next `init` goes on moving.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lariat_base::escape::escape;
use lariat_base::os_error::io_error;
use lariat_base::private;
use lariat_certs::ca::Ca;

use crate::context::Context;
use crate::error::CliError;
use crate::home::{CA_CERTIFICATE, CA_KEY, HOSTS, Home, KEYS};
use crate::inventory::{Inventory, edit};
use crate::key::ControllerKey;
use crate::output;

/// What a home is made of, in the order in which it is moved into place.
const PIECES: [&str; 4] = [KEYS, CA_KEY, CA_CERTIFICATE, HOSTS];

/// Where it is made.
const STAGING: &str = ".init";

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lariat init                                 in ~/.config/lariat
  lariat --home /srv/fleet init               elsewhere; LARIAT_HOME says the same")]
pub(crate) struct Args {}

pub(crate) fn run(_: Args, context: &Context) -> Result<ExitCode, CliError> {
    let home = context.home()?;
    let key = init(&home).map_err(|error| error.during("init"))?;
    let path = escape(home.path().as_os_str().as_bytes());
    let key = format!("{KEYS}/{key}");
    let width = key.len();
    output::line(&format!(
        "Made a fleet in {path}:\n\
         \x20 {CA_KEY:width$}  its CA's key: whoever has it can make hosts of this fleet. Keep a copy safe.\n\
         \x20 {CA_CERTIFICATE:width$}  its CA's certificate\n\
         \x20 {key:width$}  your key: whoever has it can log in to every host.\n\
         \x20 {HOSTS:width$}  the hosts, none yet\n\
         Next: lariat enroll web1 --address 10.0.0.1",
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the fleet; returns the name of the key's file.
fn init(home: &Home) -> Result<String, CliError> {
    take_directory(home)?;
    let _lock = home.lock()?;
    let staging = home.path().join(STAGING);
    if staging.join(HOSTS).exists() {
        move_into_place(home, &staging)?;
    } else {
        refuse_leftovers(home)?;
        remove_staging(&staging)?;
        make(&staging)?;
        move_into_place(home, &staging)?;
    }
    Ok(ControllerKey::load(home)?.file_name())
}

/// Makes the home, takes over an empty one, or accepts one that is private and has no fleet.
fn take_directory(home: &Home) -> Result<(), CliError> {
    match private::create_directory(home.path()) {
        Ok(()) => return Ok(()),
        Err(error) if error.io_kind() == Some(ErrorKind::AlreadyExists) => {}
        Err(error) => return Err(error.into()),
    }
    if !home.path().is_dir() {
        return Err(CliError::new(format!("{} is not a directory", home.path().display()))
            .hint("lariat --home DIR init"));
    }
    private::check_directory(home.path())?;
    Ok(())
}

fn refuse_leftovers(home: &Home) -> Result<(), CliError> {
    let path = home.path().display();
    if home.has_fleet()? {
        let hosts = Inventory::load(home).map(|inventory| inventory.iter().count());
        let hosts = hosts.map(|hosts| format!(" of {hosts} host(s)")).unwrap_or_default();
        let message = format!("{path} holds a fleet{hosts} already; nothing was changed");
        let next = "lariat enroll HOST --address ADDR, or lariat --home DIR init for another fleet";
        return Err(CliError::new(message).hint(next));
    }
    let left = PIECES.into_iter().find(|piece| home.path().join(piece).exists());
    left.map_or(Ok(()), |left| {
        let message = format!("{path} has {left} but no {HOSTS}; nothing was changed");
        Err(CliError::new(message)
            .hint(format!("put {HOSTS} back from a copy, or lariat --home DIR init")))
    })
}

fn make(staging: &Path) -> Result<(), CliError> {
    let (ca, key) = (Ca::create()?, ControllerKey::generate()?);
    private::create_directory(&staging.join(KEYS))?;
    private::create(&staging.join(KEYS).join(key.file_name()), key.to_toml().as_bytes())?;
    private::create(&staging.join(CA_KEY), ca.key_pem().as_bytes())?;
    private::create(&staging.join(CA_CERTIFICATE), ca.certificate_pem().as_bytes())?;
    private::create(&staging.join(HOSTS), edit::EMPTY.as_bytes())?;
    Ok(())
}

fn move_into_place(home: &Home, staging: &Path) -> Result<(), CliError> {
    let failed = |path: PathBuf| {
        move |e: std::io::Error| CliError::new(format!("make {}: {}", path.display(), io_error(&e)))
    };
    for piece in PIECES {
        let (from, to) = (staging.join(piece), home.path().join(piece));
        match std::fs::rename(&from, &to) {
            // An interrupted init had moved this one.
            Err(e) if e.kind() == ErrorKind::NotFound && to.exists() => {}
            moved => moved.map_err(failed(to))?,
        }
    }
    let sync = File::open(home.path()).and_then(|directory| directory.sync_all());
    sync.map_err(failed(home.path().to_owned()))?;
    remove_staging(staging)
}

fn remove_staging(staging: &Path) -> Result<(), CliError> {
    match std::fs::remove_dir_all(staging) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(CliError::new(format!("remove {}: {}", staging.display(), io_error(&e))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(&directory.path().join("home"))).unwrap();
        (directory, home)
    }

    #[test]
    fn a_fleet_is_whole_and_made_once() {
        let (_directory, home) = home();
        init(&home).unwrap();
        assert_eq!(Inventory::load(&home).unwrap().iter().count(), 0);
        let key = ControllerKey::load(&home).unwrap();
        assert_eq!(home.ca().unwrap().certificate(), &home.ca_certificate().unwrap());
        let again = init(&home).unwrap_err().line();
        assert!(again.contains("holds a fleet of 0 host(s) already; nothing was changed"));
        assert_eq!(ControllerKey::load(&home).unwrap().id, key.id);
        assert!(!home.path().join(STAGING).exists());
    }

    #[test]
    fn an_init_cut_at_any_step_is_finished_by_the_next() {
        for moved in 0..PIECES.len() {
            let (_directory, home) = home();
            take_directory(&home).unwrap();
            let staging = home.path().join(STAGING);
            make(&staging).unwrap();
            for piece in &PIECES[..moved] {
                std::fs::rename(staging.join(piece), home.path().join(piece)).unwrap();
            }
            assert!(home.require_fleet().is_err());
            init(&home).unwrap();
            home.require_fleet().unwrap();
            home.ca().unwrap();
        }
        for made in 0..PIECES.len() {
            let (_directory, home) = home();
            take_directory(&home).unwrap();
            let staging = home.path().join(STAGING);
            make(&staging).unwrap();
            for piece in &PIECES[made..] {
                let path = staging.join(piece);
                if path.is_dir() {
                    std::fs::remove_dir_all(path).unwrap();
                } else {
                    std::fs::remove_file(path).unwrap();
                }
            }
            init(&home).unwrap();
            home.ca().unwrap();
        }
    }

    #[test]
    fn a_ca_without_its_inventory_is_not_overwritten() {
        let (_directory, home) = home();
        init(&home).unwrap();
        std::fs::remove_file(home.hosts_file()).unwrap();
        let refused = init(&home).unwrap_err().line();
        assert!(refused.contains("has keys but no hosts.toml; nothing was changed"), "{refused}");
        home.ca().unwrap();
    }
}
