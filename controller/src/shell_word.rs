//! Quotes words for command lines in messages.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use lariat_base::escape::escape;

/// An argument as it is typed, made harmless.
pub(crate) fn quoted(argument: &OsStr) -> String {
    shell_word(&escape(argument.as_bytes()))
}

/// `word` as one word of a POSIX shell, quoted if necessary.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_the_word() {
        for word in ["web1", "", "a b", "it's", "''", "$HOME", "*", "!x", "a\nb", "-n", "ü", "#"] {
            let echo = format!("printf %s {}", shell_word(word));
            let output = std::process::Command::new("sh").args(["-c", &echo]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
