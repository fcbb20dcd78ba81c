//! What `--encoding` asks for: the conversion of everything that comes from hosts and goes to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::encoded::Encoded;
use super::name::HostEncoding;

/// The conversion of a command's streams; by default there is none. Clones share the count of stdin.
#[derive(Clone, Default)]
pub(crate) struct Conversion {
    /// The encoding of output, for the destinations of it.
    pub(crate) encoding: Option<HostEncoding>,
    /// How often something of stdin was replaced.
    stdin: Arc<AtomicU64>,
}

impl Conversion {
    /// Converts from and to this encoding, if there is one.
    pub(crate) fn new(encoding: Option<HostEncoding>) -> Self {
        Self { encoding, stdin: Arc::default() }
    }

    /// Stdin as it is sent.
    pub(crate) fn stdin<R>(&self, source: R) -> Encoded<R> {
        match self.encoding {
            Some(encoding) => Encoded::new(source, encoding, &self.stdin),
            None => Encoded::plain(source),
        }
    }

    /// A sentence about output of which this much was replaced.
    pub(crate) fn told_output(&self, stdout: u64, stderr: u64) -> Option<String> {
        let name = self.encoding?.name();
        let places = match (stdout, stderr) {
            (0, 0) => return None,
            (stdout, 0) => format!("{} of stdout", counted(stdout, "place")),
            (0, stderr) => format!("{} of stderr", counted(stderr, "place")),
            (stdout, stderr) => {
                format!("{} of stdout and {stderr} of stderr", counted(stdout, "place"))
            }
        };
        Some(format!(
            "{places} not in {name}: U+FFFD stands there; without --encoding the bytes stay as they are"
        ))
    }

    /// A sentence about stdin, if some of it was replaced.
    pub(crate) fn told_stdin(&self) -> Option<String> {
        let name = self.encoding?.name();
        let replaced = self.stdin.load(Ordering::Relaxed);
        let characters = counted(replaced, "character");
        (replaced > 0).then(|| format!("{characters} of stdin not in {name}: ? was sent for each"))
    }
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_is_told_by_stream() {
        let conversion = Conversion::new(Some("gbk".parse().unwrap()));
        let told = |stdout, stderr| conversion.told_output(stdout, stderr).unwrap_or_default();
        insta::assert_snapshot!(told(1, 0), @"1 place of stdout not in GBK: U+FFFD stands there; without --encoding the bytes stay as they are");
        insta::assert_snapshot!(told(0, 2), @"2 places of stderr not in GBK: U+FFFD stands there; without --encoding the bytes stay as they are");
        insta::assert_snapshot!(told(3, 2), @"3 places of stdout and 2 of stderr not in GBK: U+FFFD stands there; without --encoding the bytes stay as they are");
        assert_eq!((told(0, 0), conversion.told_stdin()), (String::new(), None));
        conversion.stdin.store(1, Ordering::Relaxed);
        insta::assert_snapshot!(conversion.told_stdin().unwrap(), @"1 character of stdin not in GBK: ? was sent for each");
        assert_eq!(Conversion::default().told_output(3, 2), None);
    }
}
