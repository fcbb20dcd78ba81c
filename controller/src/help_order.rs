//! The order of the groups in a verb's `--help`: global options are the last.
//!
//! clap lists them first, as a verb gets its own arguments only when it is selected.

/// The title of the group.
const GLOBAL: &str = "Global options:";

/// Moves the group of global options after those that follow it, and before the text at the end.
pub(crate) fn globals_last(help: &str) -> String {
    let body = help.trim_end();
    // A blank line is also between two options, whose lines are indented.
    let mut sections: Vec<String> = Vec::new();
    for part in body.split("\n\n") {
        match sections.last_mut() {
            Some(section) if part.starts_with(' ') => section.extend(["\n\n", part]),
            _ => sections.push(part.to_owned()),
        }
    }
    let Some(global) = sections.iter().position(|section| title(section) == GLOBAL) else {
        return help.to_owned();
    };
    let groups = sections[global + 1..].iter().take_while(|section| is_group(section)).count();
    sections[global..=global + groups].rotate_left(1);
    sections.join("\n\n") + &help[body.len()..]
}

/// Whether it is a title with options.
fn is_group(section: &str) -> bool {
    let option = section.lines().nth(1).is_some_and(|line| plain(line).starts_with('-'));
    option && title(section).ends_with(':')
}

fn title(section: &str) -> &str {
    plain(section.lines().next().unwrap_or_default())
}

/// A line without indentation, and without the styles around its first words.
fn plain(line: &str) -> &str {
    let mut text = line.trim();
    while let Some((_, rest)) = text.strip_prefix("\x1b[").and_then(|style| style.split_once('m')) {
        text = rest;
    }
    text.strip_suffix("\x1b[0m").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_global_options_are_the_last_group() {
        let help = "About\n\nUsage: x\n\nOptions:\n  -a\n\n  -b\n      More\n\nGlobal options:\n      --home <DIR>\n          \
                    Where\n\n          Default\n\n  -q\n\nConnection:\n  -J <VIA>\n\nMany hosts:\n      --batch <N>\n\n\
                    A word.\n\nExamples:\n  lariat x\n";
        let expected = "About\n\nUsage: x\n\nOptions:\n  -a\n\n  -b\n      More\n\nConnection:\n  -J <VIA>\n\nMany \
                        hosts:\n      --batch <N>\n\nGlobal options:\n      --home <DIR>\n          Where\n\n          \
                        Default\n\n  -q\n\nA word.\n\nExamples:\n  lariat x\n";
        assert_eq!(globals_last(help), expected);
        assert_eq!(globals_last(expected), expected);
        assert_eq!(globals_last("Usage: x\n\nOptions:\n  -a\n"), "Usage: x\n\nOptions:\n  -a\n");
        let styled = "\x1b[1m\x1b[4mGlobal options:\x1b[0m\n  \x1b[1m-q\x1b[0m\n\n\x1b[1mA:\x1b[0m\n  \x1b[1m-J\x1b[0m\n";
        let moved = "\x1b[1mA:\x1b[0m\n  \x1b[1m-J\x1b[0m\n\n\x1b[1m\x1b[4mGlobal options:\x1b[0m\n  \x1b[1m-q\x1b[0m\n";
        assert_eq!(globals_last(styled), moved);
    }
}
