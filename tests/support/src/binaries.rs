//! The programs under test: those that the same run of cargo has built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The controller.
    pub lariat: PathBuf,
    /// The agent.
    pub lariatd: PathBuf,
}

/// Finds the programs beside the running executable.
///
/// Finds the programs beside the running executable.
///
/// The end-to-end tests belong to the package of the programs, so that `cargo test` builds these first,
/// whichever tests are selected. Other packages call [`build`].
///
/// # Panics
/// If the programs are missing.
pub fn binaries() -> &'static Binaries {
    static FOUND: OnceLock<Binaries> = OnceLock::new();
    FOUND.get_or_init(|| {
        let this = std::env::current_exe().expect("/proc is there");
        // Tests are in a directory `deps` of their own.
        let mut directories = this.ancestors().skip(1).take(2);
        let find = |directory: &Path| {
            let [lariat, lariatd] = ["lariat", "lariatd"].map(|name| directory.join(name));
            (lariat.is_file() && lariatd.is_file()).then_some(Binaries { lariat, lariatd })
        };
        directories.find_map(find).expect("cargo has built lariat and lariatd beside this program")
    })
}

/// Builds the programs in the profile of the running executable, beside it.
///
/// # Panics
/// If they do not build.
pub fn build() {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--package", "lariat"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo can be run").success(), "the programs do not build");
}
