//! Manual installation, as the documents describe it, on a host without anything of lariat.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lariat_testing::fleet::TestFleet;

fn repository() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// Runs the `install` commands of a document, below `root` instead of `/`.
fn install(document: &str, directory: &Path, root: &Path) {
    let commands = document.lines().flat_map(|line| line.split(" && "));
    // The controller's commands are for another machine.
    let of_agent = |command: &&str| {
        command.starts_with("install ")
            && !command.contains(" lariat ")
            && !command.contains("target/")
    };
    let commands: Vec<&str> = commands.filter(of_agent).collect();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        let line = command.replace(" /", &format!(" {}/", root.display()));
        let output =
            Command::new("sh").args(["-c", &line]).current_dir(directory).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "{command}: {error}");
    }
    let mode = |path: &str| root.join(path).metadata().unwrap().permissions().mode() & 0o7777;
    for (path, expected) in [
        ("usr/bin/lariatd", 0o755),
        ("etc/systemd/system/lariatd.service", 0o644),
        ("etc/sysusers.d/lariat.conf", 0o644),
        ("etc/tmpfiles.d/lariat.conf", 0o644),
        ("etc/lariat", 0o700),
        ("etc/lariat/agent.toml", 0o600),
        ("etc/lariat/host.key", 0o600),
    ] {
        assert_eq!(mode(path), expected, "{path}");
    }
}

#[test]
fn the_documents_install_an_agent_where_nothing_is_yet() {
    let fleet = TestFleet::new();
    let systemd = repository().join("systemd");
    for (document, host, units) in
        [("docs/manual/install.md", "web9", "systemd"), ("systemd/README.md", "HOST", "")]
    {
        let directory = fleet.path(format!("from-{host}"));
        fs::create_dir_all(directory.join(units)).unwrap();
        for entry in fs::read_dir(&systemd).unwrap().flatten() {
            fs::copy(entry.path(), directory.join(units).join(entry.file_name())).unwrap();
        }
        fs::write(directory.join("lariatd"), "the program").unwrap();
        let name = host.to_lowercase();
        fleet.enroll(&name, "192.0.2.1");
        fs::rename(fleet.bundle(&name), directory.join(format!("{host}.lariat"))).unwrap();
        // The state directory that an agent tried out before has left there.
        fs::create_dir(directory.join(format!("{host}.lariat/state"))).unwrap();
        let text = fs::read_to_string(repository().join(document)).unwrap();
        install(&text, &directory, &fleet.path(format!("root-{host}")));
    }
}
