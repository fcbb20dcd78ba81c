//! The man pages, and the help that they are made of.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;

#[test]
fn the_man_pages_are_complete_and_without_a_warning() {
    let fleet = TestFleet::new();
    let pages = fleet.path("pages");
    fleet.ok(["man", pages.to_str().unwrap()]);
    let mut names: Vec<_> =
        fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let has = |name: &str| names.iter().any(|path| path.ends_with(name));
    for page in ["lariat.1", "lariat-run.1", "lariat-key-add.1", "lariatd.8", "lariat-plan.toml.5"]
    {
        assert!(has(page), "{page}");
    }
    assert!(!has("lariat-complete.1"));
    let man = Command::new("man").arg("--version").stdout(Stdio::null()).status();
    let has_man = man.is_ok_and(|status| status.success());
    if !has_man {
        let _ = writeln!(std::io::stderr(), "not checked: there is no man here");
    }
    for page in &names {
        let written = fs::read_to_string(page).unwrap();
        let needed = match page.extension().and_then(|section| section.to_str()) {
            Some("1") => {
                &["SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "FILES", "ENVIRONMENT", "SEE ALSO"][..]
            }
            Some("8") => {
                &["SYNOPSIS", "OPTIONS", "EXIT STATUS", "FILES", "ENVIRONMENT", "SEE ALSO"]
            }
            _ => &["DESCRIPTION", "KEYS", "EXAMPLES", "SEE ALSO"],
        };
        for section in needed {
            assert!(
                written.contains(&format!("\n.SH {section}\n")),
                "{}: {section}",
                page.display()
            );
        }
        if has_man {
            let mut man = Command::new("man");
            man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(page);
            let output = man
                .env("LC_ALL", "C.UTF-8")
                .env("MANROFFSEQ", "")
                .env("MANWIDTH", "80")
                .output()
                .unwrap();
            let (status, warnings) = (output.status, text(&output.stderr));
            assert!(status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
        }
    }
    // Below a directory of `man`'s own, each section has its own.
    fleet.ok(["man", fleet.path("share/man1").to_str().unwrap()]);
    assert!(
        fleet.path("share/man8/lariatd.8").exists() && fleet.path("share/man1/lariat.1").exists()
    );
}
