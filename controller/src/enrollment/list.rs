//! The file of `enroll --from`: a host a line.

use std::io::Read;
use std::path::Path;

use lariat_base::escape::escape;
use lariat_base::name::HostName;

use crate::error::CliError;
use crate::inventory::Tag;
use crate::ssh::Place;
use crate::text_file::lines;

/// Largest file, in bytes.
const MAX_LEN: u64 = 4 * 1024 * 1024;

/// A host of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: HostName,
    pub(crate) place: Place,
    pub(crate) tags: Vec<Tag>,
}

/// Reads the file; `-` is stdin. A mistake is told with its line, and then nothing is begun.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>, CliError> {
    let shown = path.display();
    let mut text = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_LEN).read_to_end(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_LEN).read_to_end(&mut text))
    };
    read.map_err(|e| CliError::from(e).during(format!("read {shown}")))?;
    let entries = parse(&text).map_err(|(line, error)| error.during(format!("{shown}:{line}")))?;
    if entries.is_empty() {
        return Err(CliError::new(format!("{shown} names no host"))
            .next("a line is: HOST [USER@]ADDR[:PORT] [TAG...]"));
    }
    Ok(entries)
}

/// The hosts of a text. Empty lines and those that begin with `#` are passed over.
fn parse(text: &[u8]) -> Result<Vec<Entry>, (usize, CliError)> {
    let mut entries: Vec<Entry> = Vec::new();
    for (number, line) in (1..).zip(lines(text)) {
        let at = |error| (number, error);
        let line = std::str::from_utf8(line)
            .map_err(|_| at(CliError::new(format!("{} is not UTF-8 text", escape(line)))))?;
        let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
        let Some(name) = words.next() else { continue };
        let name: HostName = name.parse().map_err(|error| at(CliError::from(error)))?;
        let place = words.next().ok_or_else(|| {
            at(CliError::new(format!("{name} has no address"))
                .next("a line is: HOST [USER@]ADDR[:PORT] [TAG...]"))
        })?;
        let place = place.parse().map_err(|error| at(CliError::from(error)))?;
        let tags = words.map(str::parse).collect::<Result<_, _>>();
        let tags = tags.map_err(|error| at(CliError::from(error)))?;
        if entries.iter().any(|entry| entry.name == name) {
            return Err(at(CliError::new(format!("{name} stands there twice"))));
        }
        entries.push(Entry { name, place, tags });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_host_and_a_mistake_has_its_line() {
        let text = b"\xef\xbb\xbf# the web\r\nweb1 root@10.0.0.1:2222 web berlin\r\n\r\n  db1\t10.0.0.2  # new\n";
        let entries = parse(text).unwrap();
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["web1", "db1"]);
        assert_eq!(entries[0].place.to_string(), "root@10.0.0.1:2222");
        assert_eq!((entries[0].tags.len(), entries[1].tags.len()), (2, 0));
        for (text, error) in [
            ("a 10.0.0.1\na 10.0.0.2", "2: a stands there twice"),
            ("web1\n", "1: web1 has no address; a line is: HOST [USER@]ADDR[:PORT] [TAG...]"),
            ("\nweb1 -oProxyCommand=x", "2: \"-oProxyCommand=x\" is not what ssh could reach"),
            ("web1 10.0.0.1 @web", "1: \"@web\" is not a tag"),
            ("Web1 10.0.0.1", "1: \"Web1\" is not a host name"),
        ] {
            let (line, why) = parse(text.as_bytes()).unwrap_err();
            let told = format!("{line}: {}", why.line());
            assert!(told.starts_with(error), "{told}");
        }
    }
}
