//! The interpreter of a script: the program that its first line names, parsed as the kernel does.

/// The interpreter of a script whose first line names none.
const SHELL: &[u8] = b"/bin/sh";

/// The interpreter of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interpreter<'a> {
    /// The program's path.
    pub program: &'a [u8],
    /// The single argument that may follow; it may contain spaces.
    pub argument: Option<&'a [u8]>,
}

impl<'a> Interpreter<'a> {
    /// The interpreter of this script.
    pub fn of(script: &'a [u8]) -> Self {
        let first = script.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let line = first.strip_prefix(b"#!").unwrap_or_default().trim_ascii();
        let end = line.iter().position(|byte| b" \t".contains(byte)).unwrap_or(line.len());
        let (program, rest) = line.split_at(end);
        let argument = Some(rest.trim_ascii()).filter(|rest| !rest.is_empty());
        if program.is_empty() || program.contains(&0) || argument.is_some_and(|a| a.contains(&0)) {
            return Self { program: SHELL, argument: None };
        }
        Self { program, argument }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_it_as_the_kernel_reads_it() {
        let of = |script: &'static str| {
            let Interpreter { program, argument } = Interpreter::of(script.as_bytes());
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            (text(program), argument.map(text).unwrap_or_default())
        };
        let sh = ("/bin/sh".to_owned(), String::new());
        for none in ["", "ls", "#!", "#! \t\nls", "# !/bin/x", "\n#!/bin/x", "#!/a\0b", "#!/a \0"] {
            assert_eq!(of(none), sh, "{none:?}");
        }
        assert_eq!(of("#!/usr/bin/env python3\nx").0, "/usr/bin/env");
        assert_eq!(of("#! /bin/awk  -f x \n"), ("/bin/awk".to_owned(), "-f x".to_owned()));
        assert_eq!(of("#!/bin/bash\r\n").0, "/bin/bash", "a line's end of another system's");
    }
}
