//! What a document asks to be done: its fenced blocks, in order.
//!
//! - `console`: after `$ ` (or `alice$ `) a command of the operator, after `bob$ ` one of another operator, after `web1# `
//!   one on that host. What follows up to the next prompt is what it prints. It ends with status 0; `; echo $?` shows
//!   another.
//! - `sh`: commands of the operator, as one script.
//! - Any language with `file=NAME`: a file in the operator's home.
//! - `norun=REASON` marks a block that can't run in a test, `needs=PROGRAM` one that runs where there is such a program.
//! - `text`: neither.
//!
//! Comments are not shown to readers: `<!-- hosts: web1 db1 -->` names the hosts that the page has, in the order of
//! their addresses, `<!-- machines: web2 -->` those that have no lariat yet, and `<!-- run`, commands, `-->` is as a block of
//! `sh`.

/// Languages of blocks that hold no commands.
const TEXTS: [&str; 5] = ["text", "toml", "ini", "json", "yaml"];

/// Whose command it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    Alice,
    Bob,
    Host(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A command, and the lines that it prints if the document shows any.
    Command { actor: Actor, command: String, shows: Vec<String> },
    /// A file.
    File { name: String, text: String },
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Its line in the document, from 1.
    pub(super) line: usize,
    /// The program that must be there.
    pub(super) needs: Option<String>,
    pub(super) act: Act,
}

/// What a document asks for.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The hosts that exist from the beginning.
    pub(super) hosts: Vec<String>,
    /// The machines without lariat, after them.
    pub(super) machines: Vec<String>,
    pub(super) steps: Vec<Step>,
    /// The blocks that are marked as not to be run: line and reason.
    pub(super) marked: Vec<(usize, String)>,
}

/// The first line of a block.
#[derive(Default)]
struct Fence<'a> {
    language: &'a str,
    file: Option<&'a str>,
    needs: Option<&'a str>,
    norun: Option<&'a str>,
}

impl<'a> Fence<'a> {
    fn parse(info: &'a str) -> Result<Self, String> {
        let mut parts = info.split(',');
        let mut fence = Self { language: parts.next().unwrap_or_default(), ..Self::default() };
        for part in parts {
            match part.split_once('=') {
                Some(("file", name)) if !name.is_empty() => fence.file = Some(name),
                Some(("needs", program)) if !program.is_empty() => fence.needs = Some(program),
                Some(("norun", reason)) if !reason.is_empty() => fence.norun = Some(reason),
                _ => return Err(format!("{part} means nothing")),
            }
        }
        Ok(fence)
    }
}

impl Page {
    /// Reads a document. An error begins with the line's number.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        let mut lines = text.lines().zip(1..);
        while let Some((first, at)) = lines.next() {
            let until = |end: &str, lines: &mut dyn Iterator<Item = (&'_ str, usize)>| {
                let mut inside = Vec::new();
                for (line, _) in lines {
                    if line == end {
                        return Ok(inside);
                    }
                    inside.push(line.to_owned());
                }
                Err(format!("{at}: it has no end"))
            };
            if let Some(info) = first.strip_prefix("```") {
                let inside = until("```", &mut lines)?;
                let fence = Fence::parse(info).map_err(|error| format!("{at}: {error}"))?;
                page.block(&fence, at, &inside).map_err(|error| format!("{at}: {error}"))?;
            } else if first == "<!-- run" {
                let command = until("-->", &mut lines)?.join("\n");
                page.steps.push(Step::alices(at, None, &command));
            } else if let Some(comment) = comment(first) {
                page.comment(comment).ok_or_else(|| format!("{at}: it means nothing"))?;
            } else if first.trim_start().starts_with("```") {
                return Err(format!("{at}: a block begins at the line's start"));
            }
        }
        Ok(page)
    }

    fn comment(&mut self, comment: &str) -> Option<()> {
        let (kind, names) = comment.split_once(": ")?;
        let names = names.split(' ').map(ToOwned::to_owned).collect();
        *(if kind == "hosts" { &mut self.hosts } else { &mut self.machines }) = names;
        Some(())
    }

    fn block(&mut self, fence: &Fence<'_>, at: usize, inside: &[String]) -> Result<(), String> {
        let Fence { language, file, needs, norun } = *fence;
        if let Some(reason) = norun {
            self.marked.push((at, reason.to_owned()));
            return Ok(());
        }
        let needs = needs.map(ToOwned::to_owned);
        if let Some(name) = file {
            let (name, text) = (name.to_owned(), inside.join("\n") + "\n");
            self.steps.push(Step { line: at, needs, act: Act::File { name, text } });
            return Ok(());
        }
        match language {
            "sh" => self.steps.push(Step::alices(at, needs, &inside.join("\n"))),
            "console" => self.console(at, needs.as_deref(), inside)?,
            _ if !TEXTS.contains(&language) => {
                return Err(format!("a block is one of console, sh, {}", TEXTS.join(", ")));
            }
            _ => {
                let command =
                    |line: &&String| line.starts_with("lariat ") || prompt(line).is_some();
                if let Some(line) = inside.iter().find(command) {
                    return Err(format!("a command in a block of {language}: {line}"));
                }
            }
        }
        Ok(())
    }

    fn console(&mut self, at: usize, needs: Option<&str>, inside: &[String]) -> Result<(), String> {
        let begins = self.steps.len();
        let mut goes_on = false;
        for (line, number) in inside.iter().zip(at + 1..) {
            let here = self.steps.get_mut(begins..).and_then(<[Step]>::last_mut);
            let was = here.map(|step| &mut step.act);
            if let (true, Some(Act::Command { command, .. })) = (goes_on, was) {
                command.push('\n');
                command.push_str(line);
                goes_on = line.ends_with('\\');
            } else if let Some((actor, command)) = prompt(line) {
                goes_on = command.ends_with('\\');
                let act = Act::Command { actor, command: command.to_owned(), shows: Vec::new() };
                self.steps.push(Step { line: number, needs: needs.map(ToOwned::to_owned), act });
            } else {
                let last = self.steps.get_mut(begins..).and_then(<[Step]>::last_mut);
                let Some(Step { act: Act::Command { shows, .. }, .. }) = last else {
                    return Err("a block of console begins with a prompt".to_owned());
                };
                shows.push(line.clone());
            }
        }
        Ok(())
    }
}

impl Step {
    fn alices(line: usize, needs: Option<String>, command: &str) -> Self {
        // What the script prints is not in the document.
        let command = format!("set -e\n{command}");
        Self { line, needs, act: Act::Command { actor: Actor::Alice, command, shows: Vec::new() } }
    }
}

/// What stands in a comment of one line that is for this test.
fn comment(line: &str) -> Option<&str> {
    let comment = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
    (comment.starts_with("hosts") || comment.starts_with("machines")).then_some(comment)
}

/// Whose prompt a line begins with, and the command after it.
fn prompt(line: &str) -> Option<(Actor, &str)> {
    let (before, command) = line.split_once(' ')?;
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let actor = match before {
        "$" | "alice$" => Actor::Alice,
        "bob$" => Actor::Bob,
        _ => Actor::Host(before.strip_suffix('#').filter(|name| is_name(name))?.to_owned()),
    };
    Some((actor, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(actor: Actor, command: &str, shows: &[&str]) -> Act {
        let shows = shows.iter().map(|&line| line.to_owned()).collect();
        Act::Command { actor, command: command.to_owned(), shows }
    }

    #[test]
    fn blocks_become_steps() {
        let page = Page::parse(
            "# A page\n\n<!-- hosts: web1 db1 -->\n<!-- run\ntouch x\ntouch y\n-->\n```console,needs=jq\n\
             $ one \\\n  more\na\n\nbob$ two\nweb1# three\nb\n```\ntext\n```toml,file=a.toml\nb = 1\n```\n\
             ```console,norun=a terminal\n$ shell\n```\n```sh\nfour\n```\n```text\nfive\n```\n",
        )
        .unwrap();
        assert_eq!(
            (page.hosts, page.machines),
            (vec!["web1".to_owned(), "db1".to_owned()], vec![])
        );
        assert_eq!(page.marked, [(21, "a terminal".to_owned())]);
        let host = Actor::Host("web1".to_owned());
        let expected = [
            (4, None, command(Actor::Alice, "set -e\ntouch x\ntouch y", &[])),
            (9, Some("jq"), command(Actor::Alice, "one \\\n  more", &["a", ""])),
            (13, Some("jq"), command(Actor::Bob, "two", &[])),
            (14, Some("jq"), command(host, "three", &["b"])),
            (18, None, Act::File { name: "a.toml".to_owned(), text: "b = 1\n".to_owned() }),
            (24, None, command(Actor::Alice, "set -e\nfour", &[])),
        ];
        let expected = expected.map(|(line, needs, act)| {
            let needs = needs.map(ToOwned::to_owned);
            Step { line, needs, act }
        });
        assert_eq!(page.steps, expected);
    }

    #[test]
    fn a_block_that_could_be_passed_over_unseen_is_an_error() {
        for (text, error) in [
            ("\n```\nx\n```", "2: a block is one of"),
            ("```bash\nx\n```", "1: a block is one of"),
            ("```text\nlariat ping web1\n```", "1: a command in a block of text"),
            ("```text\n$ true\n```", "1: a command in a block of text"),
            ("```console\nx\n```", "1: a block of console begins with a prompt"),
            ("```console,norun\n$ x\n```", "1: norun means nothing"),
            ("```console\n$ x\n", "1: it has no end"),
            ("- x\n  ```sh\n", "2: a block begins at the line's start"),
            ("<!-- hosts -->", "1: it means nothing"),
        ] {
            let found = Page::parse(text).unwrap_err();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }
}
