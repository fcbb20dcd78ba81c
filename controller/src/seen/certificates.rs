//! The ends of hosts' certificates as they were last seen: `LARIAT_HOME/seen/certificates`. A line is added when a host
//! shows another end than before, so contact with many hosts reads one small file and rarely writes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use lariat_base::name::{EnrolmentId, HostName};
use lariat_base::private;

use crate::home::Home;
use crate::inventory::Host;

const FILE: &str = "certificates";

/// Lines that no longer count, with which the file is rewritten.
const LINES: usize = 64;

/// The end of each host's certificate, in seconds since 1970, and the enrollment of which that was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateEnds(BTreeMap<HostName, (EnrolmentId, i64)>);

impl CertificateEnds {
    /// Loads the file. Without one, or without a line of a host, nothing is known.
    pub(crate) fn load(home: &Home) -> Self {
        let text = fs::read_to_string(home.seen_directory().join(FILE));
        Self::read(&text.unwrap_or_default())
    }

    /// The end of a host's certificate, if it was seen since the host was enrolled.
    pub(crate) fn of(&self, name: &HostName, host: &Host) -> Option<i64> {
        let (enrolment, end) = self.0.get(name)?;
        host.enrolled.filter(|enrolled| enrolled.enrolment == *enrolment).map(|_| *end)
    }

    /// Sets the end of a host's certificate.
    pub(super) fn set(&mut self, name: HostName, enrolment: EnrolmentId, end: i64) {
        self.0.insert(name, (enrolment, end));
    }

    /// Adds what the file does not say yet.
    pub(super) fn save(mut self, directory: &Path) -> io::Result<()> {
        let path = directory.join(FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            text => text.unwrap_or_default(),
        };
        let mut known = Self::read(&text);
        self.0.retain(|name, seen| known.0.get(name) != Some(seen));
        if self.0.is_empty() {
            return Ok(());
        }
        let lines = text.lines().count() + self.0.len();
        let added = self.write();
        known.0.append(&mut self.0);
        if lines > known.0.len() + LINES {
            // What another process adds meanwhile is seen again at the next contact.
            return private::replace(&path, known.write().as_bytes()).map_err(io::Error::other);
        }
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(path)?;
        file.write_all(added.as_bytes())
    }

    /// Reads a file, of which a host's last line counts.
    fn read(text: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.split(' ');
            let mut word = || words.next();
            let (name, enrolment) = (word()?.parse().ok()?, word()?.parse().ok()?);
            Some((name, (enrolment, word()?.parse().ok()?)))
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn write(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (name, (enrolment, end))| {
            // A String takes whatever is written to it.
            let _ = writeln!(text, "{name} {enrolment} {end}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(all: &[(&str, u8, i64)]) -> CertificateEnds {
        let mut ends = CertificateEnds::default();
        for (name, enrolment, end) in all {
            ends.set(name.parse().unwrap(), EnrolmentId([*enrolment; 16]), *end);
        }
        ends
    }

    #[test]
    fn a_line_is_added_when_an_end_is_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let text = || fs::read_to_string(directory.path().join(FILE)).unwrap();
        let all = ends(&[("db1", 1, 100), ("web1", 2, 200)]);
        for _ in 0..2 {
            all.clone().save(directory.path()).unwrap();
            assert_eq!(text(), all.write());
        }
        ends(&[("web1", 2, 300), ("db1", 1, 100)]).save(directory.path()).unwrap();
        ends(&[("db1", 3, 100)]).save(directory.path()).unwrap();
        assert_eq!(text().lines().count(), 4);
        assert_eq!(CertificateEnds::read(&text()), ends(&[("db1", 3, 100), ("web1", 2, 300)]));
        let bad = format!("{}x\nweb1 y 5\nweb1 {} z\n", text(), "02".repeat(16));
        assert_eq!(CertificateEnds::read(&bad), CertificateEnds::read(&text()));
    }

    #[test]
    fn the_file_stays_small_however_often_ends_change() {
        let directory = tempfile::tempdir().unwrap();
        for end in 0..500 {
            ends(&[("web1", 2, end)]).save(directory.path()).unwrap();
        }
        let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert!(text.lines().count() <= LINES + 1);
        assert_eq!(CertificateEnds::read(&text), ends(&[("web1", 2, 499)]));
    }
}
