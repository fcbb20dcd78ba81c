//! Whether a command printed what its document shows.
//!
//! Lines may come in another order, as those of several hosts do. `...` stands for any text in a line, and alone for any
//! more lines. What differs from run to run is only compared in kind: times, rates, dates and ids. An id of the document
//! then stands for the real one in the commands that follow.

/// Ids of the document, each with the real one.
#[derive(Debug, Default)]
pub(super) struct Ids(Vec<(String, String)>);

/// The fewest digits of an id that a document may shorten.
const SHORT: usize = 4;

/// The fewest digits of an id in output.
const LONG: usize = 12;

impl Ids {
    /// The command, with the real ids.
    pub(super) fn real(&self, command: &str) -> String {
        let mut real = String::new();
        for word in command.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            let core = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            let known =
                self.0.iter().rev().find(|(shown, _)| {
                    core.len() >= SHORT && shown.starts_with(core) && is_hex(core)
                });
            let id = known.and_then(|(_, id)| id.get(..core.len())).unwrap_or(core);
            real.push_str(id);
            real.push_str(&word[core.len()..]);
        }
        real
    }

    fn learn(&mut self, shown: &str, printed: &str) {
        let (shown, printed) = (ids(shown), ids(printed));
        if shown.len() == printed.len() {
            let pairs = shown.into_iter().zip(printed);
            self.0.extend(pairs.map(|(shown, id)| (shown.to_owned(), id.to_owned())));
        }
    }
}

/// Compares what is shown with what was printed; the error is the first line that is missing or too many.
pub(super) fn compare(shown: &[String], printed: &str, ids: &mut Ids) -> Result<(), String> {
    let mut left: Vec<&str> = printed.lines().collect();
    let mut may_be_more = false;
    for line in shown {
        if line.trim() == "..." {
            may_be_more = true;
            continue;
        }
        let (wanted, at) = (shape(line), left.iter());
        let Some(at) = at.map(|&there| shape(there)).position(|there| fits(&wanted, &there)) else {
            return Err(format!("it does not print: {line}"));
        };
        ids.learn(line, left.remove(at));
    }
    let more = left.iter().find(|line| !line.trim().is_empty());
    match more {
        Some(line) if !may_be_more => Err(format!("it prints besides: {line}")),
        _ => Ok(()),
    }
}

fn is_hex(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_id(word: &str) -> bool {
    word.len() >= LONG && is_hex(word)
}

/// The ids in a line.
fn ids(line: &str) -> Vec<&str> {
    line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| is_id(word)).collect()
}

/// A line without what differs from run to run.
fn shape(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let open = word.trim_start_matches('(');
        let core = open.trim_end_matches([',', ';', ':', ')', '.']);
        let (before, after) = (&word[..word.len() - open.len()], &open[core.len()..]);
        let is_number = |word: &String| word.trim_start_matches('(').parse::<f64>().is_ok();
        let kind = match core {
            "s" | "ms" if words.last().is_some_and(is_number) => Some("TIME"),
            "B/s" | "KiB/s" | "MiB/s" | "GiB/s" if words.last().is_some_and(is_number) => {
                Some("RATE")
            }
            _ => None,
        };
        if let Some(kind) = kind {
            let number = words.pop().unwrap_or_default();
            let before = &number[..number.len() - number.trim_start_matches('(').len()];
            words.push(format!("{before}{kind}{after}"));
            continue;
        }
        let core = match core {
            _ if is_date(core) => "DATE".to_owned(),
            _ if !is_id(core) && is_time(core) => "TIME".to_owned(),
            _ => hide_ids(core),
        };
        words.push(format!("{before}{core}{after}"));
    }
    words.join(" ")
}

/// `2026-03-02T09:12:44.031Z`, or the day alone.
fn is_date(word: &str) -> bool {
    let day = word.get(..10).unwrap_or_default();
    let digits = day.bytes().filter(u8::is_ascii_digit).count();
    digits == 8 && day.split('-').map(str::len).eq([4, 2, 2])
}

/// `1s`, `6m23s`, `09:12:44Z`.
fn is_time(word: &str) -> bool {
    if let Some(clock) = word.strip_suffix('Z') {
        return clock.split(':').map(str::len).eq([2, 2, 2]);
    }
    let units = word.trim_start_matches(|c: char| c.is_ascii_digit() || "msdh.".contains(c));
    units.is_empty()
        && word.starts_with(|c: char| c.is_ascii_digit())
        && word.ends_with(|c: char| "smhd".contains(c))
}

fn hide_ids(word: &str) -> String {
    let parts = word.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let hidden = parts.map(|part| {
        let core = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if is_id(core) { format!("ID{}", &part[core.len()..]) } else { part.to_owned() }
    });
    hidden.collect()
}

/// Whether a line is as shown, where `...` stands for anything.
fn fits(shown: &str, line: &str) -> bool {
    let Some((first, rest)) = shown.split_once("...") else { return shown == line };
    let Some(mut line) = line.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split("...").collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = line.find(part) else { return false };
        line = &line[at + part.len()..];
    }
    line.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(shown: &str, printed: &str) -> Result<(), String> {
        let shown: Vec<String> = shown.lines().map(ToOwned::to_owned).collect();
        compare(&shown, printed, &mut Ids::default())
    }

    #[test]
    fn only_what_differs_from_run_to_run_may_differ() {
        for (shown, printed) in [
            ("web1: 0.1 ms (connect 1.7 ms)", "web1: 12 ms (connect 0.04 s)\n"),
            ("2 ok, 1 failed (web3); 0.01 s", "2 ok, 1 failed (web3); 11.20 s"),
            ("sent 1.00 MiB, 0.02 s, 1.00 MiB/s", "sent 1.00 MiB, 0.1 s, 31 KiB/s"),
            ("a  running  1s  09:12:44Z", "a running 1m3s    21:00:00Z"),
            ("b\na", "a\nb\n"),
            ("a\n...", "x\na\ny"),
            ("a ... c", "a b b c"),
            ("job 742d380035229d3d", "job 000000000000abcd"),
            ("2026-03-02T09:12:44.031Z x", "2027-01-02T00:00:00.000Z x"),
        ] {
            assert_eq!(same(shown, printed), Ok(()), "{shown}");
        }
        for (shown, printed) in [
            ("a", ""),
            ("a", "a\nb"),
            ("a\na", "a"),
            ("sent 1.00 MiB", "sent 2.00 MiB"),
            ("a ... c", "a b"),
            ("2 ok; 0.01 s", "1 ok; 0.01 s"),
            ("exit 3", "exit 4"),
        ] {
            assert!(same(shown, printed).is_err(), "{shown}");
        }
    }

    #[test]
    fn an_id_stands_for_the_real_one() {
        let mut ids = Ids::default();
        let shown = ["job 742d380035229d3dc4724eb0db29cf03".to_owned()];
        compare(&shown, "job 00112233445566778899aabbccddeeff", &mut ids).unwrap();
        assert_eq!(ids.real("kill web1 742d; x 7433 742d3800"), "kill web1 0011; x 7433 00112233");
    }
}
