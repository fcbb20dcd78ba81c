//! `--chmod`: a mode in octal, or changes as chmod(1) and `rsync --chmod` take them.

use lariat_wire::protocol::transfer::ModeChange;

/// The changes that one `--chmod` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Modes {
    /// Of files.
    pub(crate) file: Option<ModeChange>,
    /// Of directories.
    pub(crate) directory: Option<ModeChange>,
}

/// Read, write and execute for everybody.
const ALL: u32 = 0o777;

/// The bits that a clause without `u`, `g`, `o` or `a` never sets, as under the usual umask.
const WRITE_OF_OTHERS: u32 = 0o022;

/// Parses clauses between commas: a mode in octal, or `[ugoa]*[-+=][rwxX]*`. `D` before a clause makes it one for
/// directories, `F` for files, which is the default.
pub(crate) fn parse_modes(text: &str) -> Result<Modes, String> {
    let mut modes = Modes::default();
    for clause in text.split(',') {
        let (of, clause) = match clause.strip_prefix('D') {
            Some(clause) => (&mut modes.directory, clause),
            None => (&mut modes.file, clause.strip_prefix('F').unwrap_or(clause)),
        };
        let change = of.unwrap_or(ModeChange::NONE);
        let changed = if clause.starts_with(|c: char| c.is_ascii_digit()) {
            ModeChange::exactly(octal(clause, text)?)
        } else {
            symbolic(change, clause).ok_or_else(|| unlike(text))??
        };
        *of = Some(changed);
    }
    Ok(modes)
}

fn octal(clause: &str, text: &str) -> Result<u32, String> {
    match u32::from_str_radix(clause, 8) {
        Ok(mode @ 0..=ALL) => Ok(mode),
        Ok(_) => Err(special()),
        Err(_) => Err(unlike(text)),
    }
}

/// Applies a clause such as `go-w` to earlier ones; `None` if it is not one.
fn symbolic(mut change: ModeChange, clause: &str) -> Option<Result<ModeChange, String>> {
    let first = clause.find(['+', '-', '='])?;
    let (who, mut rest) = clause.split_at(first);
    let mut whose = if who.is_empty() { ALL } else { 0 };
    for letter in who.chars() {
        whose |= match letter {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o007,
            'a' => ALL,
            _ => return None,
        };
    }
    let given = if who.is_empty() { ALL & !WRITE_OF_OTHERS } else { whose };
    while let Some(operator) = rest.chars().next() {
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
        let (mut bits, mut if_executable) = (0, 0);
        for letter in rest[1..end].chars() {
            match letter {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                'X' => if_executable = 0o111,
                's' | 't' => return Some(Err(special())),
                _ => return None,
            }
        }
        change = match operator {
            '+' => change.with(bits & given, if_executable & given),
            '-' => change.without((bits | if_executable) & given),
            _ => change.without(whose).with(bits & given, if_executable & given),
        };
        rest = &rest[end..];
    }
    Some(Ok(change))
}

fn unlike(text: &str) -> String {
    format!(
        "{text:?} is neither a mode in octal, such as 644, nor a change, such as u=rw,go=r or D755,F644"
    )
}

fn special() -> String {
    "setuid, setgid and sticky are not given to files this way".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> u32 {
        parse_modes(text).unwrap().file.unwrap().of_file(mode)
    }

    #[test]
    fn changes_are_those_of_chmod() {
        for (text, mode, end) in [
            ("644", 0o755, 0o644),
            ("0700", 0o644, 0o700),
            ("u=rw,go=", 0o755, 0o600),
            ("u=rw,go=r", 0o777, 0o644),
            ("u+x", 0o644, 0o744),
            ("+x", 0o644, 0o755),
            ("+w", 0o444, 0o644),
            ("a+w", 0o444, 0o666),
            ("=r", 0o777, 0o444),
            ("=", 0o777, 0),
            ("go-rwx", 0o755, 0o700),
            ("ug+w-x", 0o755, 0o665),
            ("a+X", 0o644, 0o644),
            ("a+X", 0o744, 0o755),
            ("u=rwX,go=rX", 0o640, 0o644),
            ("u=rwX,go=rX", 0o710, 0o755),
            ("a+X,a-x", 0o755, 0o644),
            ("600,g+r", 0o777, 0o640),
            ("F640", 0o777, 0o640),
            ("g+r", 0o6700, 0o6740),
        ] {
            assert_eq!(file(text, mode), end, "{text} of {mode:o}");
        }
    }

    #[test]
    fn directories_have_clauses_of_their_own() {
        let modes = parse_modes("D2,Fu=r,Dg+rX,go-x").unwrap_or_default();
        assert_eq!(modes.directory.unwrap().of_directory(0o700), 0o052);
        assert_eq!(modes.file.unwrap().of_file(0o777), 0o466);
        assert_eq!(parse_modes("644").unwrap().directory, None);
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for bad in [
            "",
            "888",
            "-1",
            "+644",
            "77777777777777",
            "u",
            "rw",
            "u+q",
            "z+x",
            "u+x,",
            ",",
            "D",
            "D+D",
        ] {
            let error = parse_modes(bad).unwrap_err();
            assert!(error.contains("neither a mode in octal"), "{bad}: {error}");
        }
        for bad in ["4755", "u+s", "+t", "D1777"] {
            assert!(parse_modes(bad).unwrap_err().contains("setuid"), "{bad}");
        }
    }
}
