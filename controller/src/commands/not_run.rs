//! The error for a command that could not be started, with what was probably meant.

use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_client::run::not_run;
use lariat_wire::protocol::exec::{Command, Run};
use rustix::io::Errno;

use crate::error::CliError;
use crate::shell_word::shell_word;

/// Commands that a shell does itself, and hosts hardly have as programs.
const BUILTINS: [&[u8]; 16] = [
    b".", b"alias", b"cd", b"eval", b"exec", b"exit", b"export", b"for", b"if", b"read", b"set",
    b"source", b"trap", b"ulimit", b"umask", b"while",
];

/// The variable that a shell would set for a word like `A=1`.
fn assigned(word: &[u8]) -> Option<&str> {
    let name = word.split(|&byte| byte == b'=').next().filter(|name| name.len() < word.len())?;
    let is_name = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
    let begins = name.first().is_some_and(|first| !first.is_ascii_digit());
    std::str::from_utf8(name).ok().filter(|_| begins && name.iter().all(is_name))
}

/// The error for a command that could not be started on a host.
pub(super) fn error(request: &Run, errno: i32, host: &HostName) -> CliError {
    let error = CliError::from(not_run(request, errno));
    let Command::Argv(words) = &request.command else { return error };
    let program = words.first().map(Vec::as_slice).unwrap_or_default();
    if errno != Errno::NOENT.raw_os_error() {
        return error;
    }
    let line: Vec<String> = words.iter().map(|word| escape(word)).collect();
    let line = shell_word(&line.join(" "));
    if let Some(name) = assigned(program) {
        let what = format!("{name}=... sets a variable in a shell, and here it is no program");
        let variable = shell_word(&escape(program));
        return CliError::new(what)
            .hint(format!("--env {variable}, or one quoted word: lariat run {host} -- {line}"));
    }
    if BUILTINS.contains(&program) {
        let what = format!("{} is a builtin of the shell, and no program", escape(program));
        return CliError::new(what).hint(format!("one quoted word: lariat run {host} -- {line}"));
    }
    if program.contains(&b' ') {
        return error.hint(format!("one quoted word for a shell: lariat run {host} -- {line}"));
    }
    if program.contains(&b'/') {
        return error;
    }
    CliError::new(format!("{}: command not found", escape(program)))
        .next(format!("where it is looked for: lariat run {host} -- 'echo $PATH'"))
}
