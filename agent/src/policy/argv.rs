//! The words of a command as patterns see them.

use lariat_wire::protocol::exec::Command;

/// The program and the arguments of a command that needs no shell: an argv, or a line that is a single plain word,
/// which is a program without arguments. `None` for any other.
pub fn argv(command: &Command) -> Option<&[Vec<u8>]> {
    match command {
        Command::Argv(words) => Some(words),
        Command::Shell(line) if is_plain(line) => Some(std::slice::from_ref(line)),
        Command::Shell(_) | Command::Script { .. } | Command::Login => None,
    }
}

/// Whether a shell would take a line for a name, and see nothing else in it.
fn is_plain(line: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(byte);
    !line.is_empty() && line.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_anything_for_a_shell_is_no_argv() {
        let line = |text: &str| Command::Shell(text.into());
        for plain in ["id", "/usr/bin/g++", "a-b_c.sh", "x"] {
            assert_eq!(argv(&line(plain)), Some(&[plain.as_bytes().to_vec()][..]));
        }
        for shell in
            ["", " id", "id\n", "id -u", "$x", "~/x", "a=b", "x;y", "`x`", "a*", "[", "#", "!"]
        {
            assert_eq!(argv(&line(shell)), None, "{shell}");
        }
        let words = vec![b"a b".to_vec()];
        assert_eq!(argv(&Command::Argv(words.clone())), Some(words.as_slice()));
        assert_eq!(argv(&Command::Login), None);
    }
}
