//! `lariat init`: makes a fleet.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use lariat_base::escape::escape;
use lariat_base::private;
use lariat_certs::ca::Ca;

use crate::context::Context;
use crate::error::CliError;
use crate::home::{CA_CERTIFICATE, CA_KEY, HOSTS, Home, KEYS};
use crate::inventory::edit;
use crate::key::{ControllerKey, default_label};
use crate::new_home;
use crate::output;

#[derive(clap::Args)]
#[command(after_long_help = "\
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
         Next: lariat enroll web1 --ssh root@10.0.0.1",
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Creates the fleet; returns the name of the key's file.
fn init(home: &Home) -> Result<String, CliError> {
    new_home::create(home, make)?;
    Ok(ControllerKey::load(home, None)?.file_name())
}

fn make(staging: &Path) -> Result<(), CliError> {
    let (ca, key) = (Ca::create()?, ControllerKey::generate(default_label())?);
    private::create_directory(&staging.join(KEYS))?;
    private::create(&staging.join(KEYS).join(key.file_name()), key.to_toml().as_bytes())?;
    private::create(&staging.join(CA_KEY), ca.key_pem().as_bytes())?;
    private::create(&staging.join(CA_CERTIFICATE), ca.certificate_pem().as_bytes())?;
    private::create(&staging.join(HOSTS), edit::EMPTY.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Inventory;
    use crate::new_home::{PIECES, STAGING, take_directory};

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
        let key = ControllerKey::load(&home, None).unwrap();
        assert_eq!(home.ca().unwrap().certificate(), &home.ca_certificate().unwrap());
        let again = init(&home).unwrap_err().line();
        assert!(again.contains("holds a fleet of 0 host(s) already; nothing was changed"));
        assert_eq!(ControllerKey::load(&home, None).unwrap().id, key.id);
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
