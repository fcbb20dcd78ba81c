//! Makes a fleet's directory.
//!
//! All of it is made in a directory of its own inside the home, `hosts.toml` last, and then moved into place,
//! `hosts.toml` last again. So an interruption has either moved nothing, and what was made is thrown away, or had
//! finished making, and the next attempt goes on moving.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lariat_base::os_error::io_error;
use lariat_base::private;

use crate::error::CliError;
use crate::home::{CA_CERTIFICATE, CA_KEY, HOSTS, Home, KEYS};
use crate::inventory::Inventory;

/// What a home is made of, in the order in which it is moved into place. A home that was imported has no CA's key.
pub(crate) const PIECES: [&str; 4] = [KEYS, CA_KEY, CA_CERTIFICATE, HOSTS];

/// Where it is made.
pub(crate) const STAGING: &str = ".init";

/// Makes a home, of the pieces that `make` puts into a directory; `hosts.toml` comes last. A home that was made and not
/// moved is moved instead.
pub(crate) fn create(
    home: &Home,
    make: impl FnOnce(&Path) -> Result<(), CliError>,
) -> Result<(), CliError> {
    take_directory(home)?;
    let _lock = home.lock()?;
    let staging = home.path().join(STAGING);
    if !staging.join(HOSTS).exists() {
        refuse_leftovers(home)?;
        remove_staging(&staging)?;
        make(&staging)?;
    }
    move_into_place(home, &staging)
}

/// Makes the home, takes over an empty one, or accepts one that is private and has no fleet.
pub(crate) fn take_directory(home: &Home) -> Result<(), CliError> {
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

fn move_into_place(home: &Home, staging: &Path) -> Result<(), CliError> {
    let failed = |path: PathBuf| {
        move |e: std::io::Error| CliError::new(format!("make {}: {}", path.display(), io_error(&e)))
    };
    for piece in PIECES {
        let (from, to) = (staging.join(piece), home.path().join(piece));
        match std::fs::rename(&from, &to) {
            // It was moved before an interruption, or this home has none.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
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
