//! The man page of a verb: what its help says, and what all verbs have in common.

use std::io;

use clap::Command;
use clap_mangen::Man;

use super::roff;

/// Exit statuses of verbs that go to hosts.
const ON_HOSTS: [(&str, &str); 6] = [
    ("0", "Success, on every host."),
    (
        "1",
        "On several hosts: a command failed, timed out, or was not started. For can, doctor, upgrade and audit verify: the answer is no.",
    ),
    ("124", "On one host: the time limit of --timeout was exceeded."),
    ("126, 127", "On one host: the command could not be executed, or was not found."),
    ("128+N", "On one host: signal N ended the command. 130: Ctrl-C, on one host and on several."),
    (
        "255",
        "lariat failed, wrong usage included. On several hosts: at least one could not be reached or refused, or lariat failed there.",
    ),
];

/// Exit statuses of all others.
const LOCAL: [(&str, &str); 2] =
    [("0", "Success."), ("255", "lariat failed, wrong usage included.")];

const FILES: [(&str, &str); 10] = [
    ("$LARIAT_HOME/hosts.toml", "The inventory; see lariat-hosts.toml(5)."),
    (
        "$LARIAT_HOME/ca.pem, ca.key",
        "The CA's certificate, and its private key, which only the machine that created the fleet has.",
    ),
    ("$LARIAT_HOME/keys/LABEL.key", "The keys to log in with."),
    ("$LARIAT_HOME/last.jsonl", "The last command over several hosts; see lariat-last(1)."),
    ("$LARIAT_HOME/seen/", "What hosts have shown of their audits; see lariat-audit-verify(1)."),
    ("$LARIAT_HOME/parking/", "Hosts that dial gateways, as keyrings there have them."),
    ("$LARIAT_HOME/known-keys.toml, known-jobs.jsonl", "Keys and jobs that were seen on hosts."),
    ("/etc/lariat/agent.toml", "The agent's configuration, on a host; see lariat-agent.toml(5)."),
    ("/etc/lariat/keyring.toml", "The keys that may log in to a host; see lariat-keyring.toml(5)."),
    ("/var/lib/lariat/", "The agent's state: jobs, the audit, sockets."),
];

const ENVIRONMENT: [(&str, &str); 6] = [
    (
        "LARIAT_HOME",
        "The fleet's directory. The default is $XDG_CONFIG_HOME/lariat, else ~/.config/lariat.",
    ),
    ("LARIAT_KEY", "The label of the key to log in with."),
    (
        "LARIAT_AGENT_CONFIG",
        "The agent's configuration for --local. The default is /etc/lariat/agent.toml.",
    ),
    ("XDG_CONFIG_HOME, HOME", "Where the fleet's directory is by default."),
    ("NO_COLOR, TERM", "Without colors if NO_COLOR is not empty, or TERM is dumb."),
    ("LARIAT_HOST", "In the environment of commands on hosts: the host's name."),
];

const SEE_ALSO: &str = "lariat(1), lariatd(8), lariat-hosts.toml(5), lariat-plan.toml(5), lariat-agent.toml(5), \
                        lariat-keyring.toml(5)";

/// The page of a verb, whose command is built.
pub(super) fn page(command: &Command) -> io::Result<Vec<u8>> {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let goes_to_hosts =
        command.get_arguments().any(|option| option.get_long() == Some("connect-timeout"));
    let version = format!("lariat {}", env!("CARGO_PKG_VERSION"));
    // What -h leaves out would have no text.
    let all = command.clone().mut_args(|option| option.hide_short_help(false));
    let man = Man::new(all.override_usage(usage)).source(version).manual("lariat");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    let Text { description, examples } = Text::of(command);
    page.extend(format!("{}{description}", roff::heading("DESCRIPTION")).bytes());
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        page.extend(verbs(command).bytes());
    }
    if !examples.is_empty() {
        page.extend(format!("{}{examples}", roff::heading("EXAMPLES")).bytes());
    }
    let statuses = if goes_to_hosts || command.has_subcommands() { &ON_HOSTS[..] } else { &LOCAL };
    page.extend(list("EXIT STATUS", statuses).bytes());
    page.extend(list("FILES", &FILES).bytes());
    page.extend(list("ENVIRONMENT", &ENVIRONMENT).bytes());
    page.extend(format!("{}{}", roff::heading("SEE ALSO"), roff::line(SEE_ALSO)).bytes());
    Ok(page)
}

fn list(heading: &str, terms: &[(&str, &str)]) -> String {
    let terms = terms.iter().map(|(term, text)| roff::term(term, text));
    roff::heading(heading) + &terms.collect::<String>()
}

fn verbs(command: &Command) -> String {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
    let term = |below: &Command| {
        let about = below.get_about().map(ToString::to_string).unwrap_or_default();
        roff::term(&format!("{name}-{}(1)", below.get_name()), &about)
    };
    roff::heading("VERBS") + &shown.map(term).collect::<String>()
}

/// What the help says besides options.
struct Text {
    description: String,
    examples: String,
}

impl Text {
    fn of(command: &Command) -> Self {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let mut text =
            Self { description: roff::line(&format!("{about}.")), examples: String::new() };
        let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        for paragraph in after.split("\n\n") {
            let mut lines = paragraph.lines().peekable();
            match lines.peek() {
                Some(first) if first.starts_with("Example") => {
                    text.examples +=
                        &roff::verbatim(lines.skip(1).map(|line| line.trim_start_matches("  ")));
                }
                Some(_) => text.paragraph(paragraph),
                None => {}
            }
        }
        text
    }

    /// Adds prose, with the indented lines that follow it.
    fn paragraph(&mut self, paragraph: &str) {
        let is_prose = |line: &&str| !line.starts_with("  ");
        self.description += ".PP\n";
        let prose = paragraph.lines().take_while(is_prose);
        self.description.extend(prose.map(roff::line));
        let rest: Vec<&str> = paragraph.lines().skip_while(is_prose).collect();
        if !rest.is_empty() {
            self.description += &roff::verbatim(rest);
        }
    }
}
