//! The audit on a real disk, and what interrupted runs leave.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lariat_base::audit::{FileName, Verifier, Whole, Wrong};
use lariat_base::private;

use super::line::About;
use super::{Audit, files, recovery};
use crate::config::Config;

/// A state directory, and the configuration that names it.
struct Place {
    directory: tempfile::TempDir,
    config: Config,
}

impl Place {
    fn new(more: &str) -> Self {
        let directory = crate::private_directory();
        let path = directory.path().join("agent.toml");
        let id = "01".repeat(16);
        let text = format!(
            "name = \"web1\"\nenrolment = \"{id}\"\nlisten = \"127.0.0.1:0\"\ncertificate = \"c\"\n\
             key = \"k\"\nkeyring = \"r\"\nstate = \"state\"\n[audit]\n{more}"
        );
        private::create(&path, text.as_bytes()).unwrap();
        let config = Config::load(&path).unwrap();
        Self { directory, config }
    }

    fn audit(&self) -> Audit {
        Audit::open(&self.config).unwrap().0
    }

    fn files(&self) -> PathBuf {
        recovery::directory(&self.config.state)
    }

    fn verify(&self) -> Result<Whole, Wrong> {
        let directory = self.files();
        let mut verifier = Verifier::default();
        for name in files::list(&directory).unwrap() {
            verifier.file(name)?;
            verifier
                .bytes(&std::fs::read(directory.join(name.to_string())).unwrap(), &mut |_, _| ())?;
        }
        verifier.finish()
    }

    /// The events of all lines, in order.
    fn events(&self) -> Vec<String> {
        let directory = self.files();
        let mut events = Vec::new();
        for name in files::list(&directory).unwrap() {
            let text = std::fs::read_to_string(directory.join(name.to_string())).unwrap();
            let event = |line: &str| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].clone()
            };
            events.extend(text.lines().map(|line| event(line).as_str().unwrap().to_owned()));
        }
        events
    }

    fn newest(&self) -> PathBuf {
        let directory = self.files();
        let names = files::list(&directory).unwrap();
        directory.join(names.last().unwrap().to_string())
    }
}

fn append(path: &Path, bytes: &[u8]) {
    let text = [&std::fs::read(path).unwrap(), bytes].concat();
    std::fs::write(path, text).unwrap();
}

fn add(audit: &Audit, count: u64) {
    for number in 0..count {
        audit.add("ended", &[&About { count: Some(number), ..About::default() }]);
    }
}

#[test]
fn a_chain_goes_on_after_a_restart() {
    let place = Place::new("");
    let audit = place.audit();
    let first = audit.head();
    assert_eq!(first.seq, 2, "what begins a chain is on disk before anybody is let in");
    add(&audit, 3);
    audit.sync().unwrap();
    assert_eq!(audit.head().seq, 5);
    drop(audit);
    let again = place.audit();
    assert_eq!((again.head().chain, again.head().seq), (first.chain, 6));
    assert_eq!(place.events(), ["opened", "started", "ended", "ended", "ended", "started"]);
    let whole = place.verify().unwrap();
    assert_eq!((whole.last, whole.hash), (6, again.head().hash));
    assert_eq!(whole.chain, hex::encode(first.chain));
}

#[test]
fn lines_are_synced_without_being_asked_for() {
    for more in ["", "sync = \"each\"\n"] {
        let place = Place::new(more);
        let audit = place.audit();
        add(&audit, 1);
        let begun = std::time::Instant::now();
        while audit.head().seq < 3 {
            assert!(
                more.is_empty() && begun.elapsed().as_secs() < 10,
                "it is on disk when add returns"
            );
            std::thread::yield_now();
        }
    }
}

#[test]
fn an_incomplete_line_is_cut_off_and_told() {
    for left in [&b"{\"seq\":5,\"ti"[..], b"\0\0\0\0", &[0; 5000]] {
        let place = Place::new("");
        let audit = place.audit();
        add(&audit, 2);
        drop(audit);
        append(&place.newest(), left);
        assert_eq!(place.verify().unwrap().cut, left.len() as u64);
        let audit = place.audit();
        assert_eq!(place.events()[4..], ["cut", "started"]);
        assert_eq!(place.verify().unwrap().hash, audit.head().hash);
    }
}

#[test]
fn a_file_without_a_line_is_as_if_it_had_not_been_begun() {
    let place = Place::new("");
    drop(place.audit());
    for left in [&b""[..], b"{\"seq\":3,"] {
        let last = place.verify().unwrap().last;
        std::fs::write(place.files().join(FileName(last + 1).to_string()), left).unwrap();
        drop(place.audit());
        assert_eq!(place.verify().unwrap().last, last + 1);
    }
    std::fs::remove_dir_all(place.files()).unwrap();
    std::fs::create_dir(place.files()).unwrap();
    std::fs::write(place.files().join(FileName(1).to_string()), "{\"se").unwrap();
    drop(place.audit());
    assert_eq!(place.events(), ["opened", "started"]);
}

#[test]
fn what_was_changed_stays_as_it_is_and_the_chain_goes_on_behind_it() {
    let place = Place::new("");
    let audit = place.audit();
    let chain = audit.head().chain;
    add(&audit, 4);
    drop(audit);
    let (path, text) = (place.newest(), std::fs::read_to_string(place.newest()).unwrap());
    std::fs::write(&path, text.replace("\"count\":2", "\"count\":9")).unwrap();
    let audit = place.audit();
    assert_eq!((audit.head().chain, audit.head().seq), (chain, 9));
    add(&audit, 1);
    assert_eq!(place.events()[6..], ["opened", "broken", "started", "ended"]);
    let wrong = place.verify().unwrap_err().to_string();
    assert!(wrong.starts_with("000000000001.jsonl:5: this line was changed"), "{wrong}");
    drop(audit);
    assert_eq!(place.audit().head().seq, 11, "and is told once");
}

#[test]
fn two_agents_do_not_write_one_chain() {
    let place = Place::new("");
    let _audit = place.audit();
    let Err(error) = Audit::open(&place.config) else { panic!("it is locked") };
    assert_eq!(error.to_string(), "another lariatd runs with this state directory");
}

#[test]
fn old_files_are_dropped_behind_a_line_that_says_so() {
    let place = Place::new("keep = \"1d\"\n");
    let audit = place.audit();
    add(&audit, 2);
    drop(audit);
    // As if it had been written long ago: the time is not part of what is looked at but in files' first lines.
    let old = |name: u64| {
        let path = place.files().join(FileName(name).to_string());
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = Vec::new();
        let mut prev: Option<(String, String)> = None;
        for line in text.lines() {
            let time = line.split('"').nth(5).unwrap();
            let mut line = line.replace(time, "2001-01-01T00:00:00.000Z");
            if let Some((from, to)) = &prev {
                line = line.replace(from.as_str(), to);
            }
            let (body, seal) = line.split_once(",\"hash\":\"").unwrap();
            let mut body = body.as_bytes().to_vec();
            let hash = lariat_base::audit::seal(&mut body);
            prev = Some((seal[..64].to_owned(), hex::encode(hash)));
            lines.extend(body);
        }
        std::fs::write(path, lines).unwrap();
    };
    let again = || add(&place.audit(), 1);
    let names = || files::list(&place.files()).unwrap();
    old(1);
    again();
    assert_eq!(names().len(), 2, "an old file is not written to any more, and the newest is kept");
    old(names()[1].0);
    again();
    again();
    assert!(names()[0] > FileName(1), "all that it had is old");
    let events = place.events();
    assert!(events.contains(&"dropped".to_owned()), "{events:?}");
    assert!(place.verify().unwrap().first > 1);
}

#[test]
fn the_verdict_is_an_exit_status() {
    let place = Place::new("");
    let config = place.directory.path().join("agent.toml");
    let verify = || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = super::verify(&config, &mut out, &mut err).unwrap();
        (status, String::from_utf8([out, err].concat()).unwrap())
    };
    let (status, told) = verify();
    assert_eq!(status, ExitCode::from(255), "{told}");
    drop(place.audit());
    let (status, told) = verify();
    assert!(
        status == ExitCode::SUCCESS && told.contains("audit: lines 1 to 2 of chain "),
        "{told}"
    );
    append(&place.newest(), b"x\n");
    let (status, told) = verify();
    assert_eq!(status, ExitCode::from(1));
    assert!(
        told.contains("state/audit/000000000001.jsonl:3: this is no line of an audit"),
        "{told}"
    );
}
