//! The binaries under test, built from the sources as they are now: a stale one would prove nothing.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Where the binaries are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The controller.
    pub lariat: PathBuf,
    /// The agent.
    pub lariatd: PathBuf,
    /// Many agents in one process.
    pub agents: PathBuf,
}

/// Builds the binaries in the profile of the test itself, once a process, and tells where they are.
///
/// # Panics
/// When they do not build.
pub fn binaries() -> &'static Binaries {
    static BUILT: OnceLock<Binaries> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--message-format=json"]);
        for (package, binary) in
            [("agent", "lariatd"), ("controller", "lariat"), ("tests", "agents")]
        {
            cargo.args(["-p", &format!("lariat-{package}"), "--bin", binary]);
        }
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let output =
            cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo can be run");
        assert!(
            output.status.success(),
            "the binaries do not build:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let messages: Vec<serde_json::Value> = output
            .stdout
            .split(|&b| b == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        let find = |name: &str| {
            let executable = messages.iter().find_map(|message| {
                let named = message["target"]["name"] == name;
                message["executable"].as_str().filter(|_| named).map(PathBuf::from)
            });
            executable.unwrap_or_else(|| panic!("cargo built no {name}"))
        };
        Binaries { lariat: find("lariat"), lariatd: find("lariatd"), agents: find("agents") }
    })
}
