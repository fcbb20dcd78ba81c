//! The command line: global options, and from arguments to an exit status.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use lariat_base::name::KeyLabel;
use rustix::process::{Resource, Rlimit};

use crate::commands::Command;
use crate::context::Context;
use crate::error::CliError;
use crate::local::socket;
use crate::outages::Outages;
use crate::output;
use crate::output::style::{self, Style, When};
use crate::seen::Seen;
use crate::shell_word::shell_word;
use crate::status;

/// Run commands on a fleet of hosts, and move files to and from them.
#[derive(Parser)]
#[command(
    name = "lariat",
    version,
    max_term_width = 100,
    after_help = "\
Begin with:
  lariat demo                                 see all of it on this machine
  lariat init                                 make a fleet
  lariat enroll web1 --ssh root@10.0.0.1      install a host's agent, and make it part of it"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    globals: Globals,

    #[command(subcommand)]
    command: Command,
}

/// The options of all verbs.
#[derive(Args)]
struct Globals {
    /// The fleet's directory [default: $LARIAT_HOME, else $XDG_CONFIG_HOME/lariat, else ~/.config/lariat]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,

    /// The key to log in with: keys/LABEL.key [default: $LARIAT_KEY, else USER@HOSTNAME, else the only one]
    #[arg(long, global = true, value_name = "LABEL")]
    // Text, since a verb that reads a key of others has the same option.
    key: Option<String>,

    /// Use the agent on this machine over its socket, without a fleet or a key; HOST is its name
    #[arg(long, global = true)]
    local: bool,

    /// The configuration of the agent for --local [default: $LARIAT_AGENT_CONFIG, else
    /// /etc/lariat/agent.toml]
    #[arg(long, global = true, value_name = "FILE", requires = "local")]
    agent_config: Option<PathBuf>,

    /// Show every cause of an error
    #[arg(short, long, global = true)]
    verbose: bool,

    /// Print no summary, no progress and no notes, only results and errors
    #[arg(short, long, global = true)]
    quiet: bool,

    /// Colors in output
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    color: When,

    /// Progress bars
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    progress: When,
}

/// Runs the command line that this process was given.
pub fn main() -> ExitCode {
    // A core dump would contain keys. There is no fallback if the limit can't be set.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    let _ = lariat_engine::file_size_limit::report_as_error();

    let arguments: Vec<_> = std::env::args_os().collect();
    match parse(&arguments) {
        Ok(cli) => {
            let Cli { globals, command } = with_key_of_its_own(cli, &arguments);
            let Globals { home, key, local, agent_config, verbose, quiet, color, progress } =
                globals;
            style::set(Style { quiet, color, progress });
            let outages = Outages::new(verbose);
            let local =
                local.then(|| command.check_local().and_then(|()| socket(agent_config.as_deref())));
            let seen = Seen::new(outages.clone());
            let done = local.transpose().and_then(|local| {
                let key = login_key(key.as_deref())?;
                let (seen, syntax) = (seen.clone(), Cli::command);
                command.run(&Context { home, key, local, verbose, outages, seen, syntax })
            });
            seen.save();
            done.unwrap_or_else(|error| error.report(verbose))
        }
        Err(error) => usage(&error, &arguments),
    }
}

/// Parses the command line by the verbs that are in it: clap copies each option of [`Globals`] for every verb that it
/// knows, which takes as long as all the rest of it. All verbs are needed only for help and where something is wrong.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let all = Cli::command();
    let named = all.get_subcommands().filter(|verb| {
        let name = OsStr::new(verb.get_name());
        arguments.iter().any(|argument| argument == name)
    });
    let few = Globals::augment_args(clap::Command::new("lariat")).subcommands(named.cloned());
    let parsed = few.try_get_matches_from(arguments).and_then(|few| Cli::from_arg_matches(&few));
    parsed.or_else(|_| Cli::try_parse_from(arguments))
}

/// Where a verb has a `--key` of its own, the one before the verb is the key to log in with, and the one behind it is
/// the verb's. clap takes both for one.
fn with_key_of_its_own(cli: Cli, arguments: &[OsString]) -> Cli {
    if !cli.command.is_key_a_filter() {
        return cli;
    }
    let globals = clap::Command::new("lariat").allow_external_subcommands(true);
    let before = Globals::augment_args(globals).try_get_matches_from(arguments).ok();
    let key = before.as_ref().and_then(|before| before.get_one::<String>("key").cloned());
    // Without what is before the verb.
    let words = before.as_ref().and_then(|before| before.subcommand()).map(|(_, verb)| {
        1 + verb.try_get_many::<OsString>("").ok().flatten().map_or(0, Iterator::count)
    });
    let at = words.and_then(|words| arguments.len().checked_sub(words));
    let behind =
        at.and_then(|at| Cli::try_parse_from([&arguments[..1], &arguments[at..]].concat()).ok());
    let command = behind.map_or(cli.command, |behind| behind.command);
    Cli { globals: Globals { key, ..cli.globals }, command }
}

/// The label that `--key`, or else `$LARIAT_KEY`, names.
fn login_key(option: Option<&str>) -> Result<Option<KeyLabel>, CliError> {
    let parse =
        |text: &str, source| text.parse().map_err(|error| CliError::from(error).during(source));
    if let Some(label) = option {
        return parse(label, "--key").map(Some);
    }
    let variable = std::env::var_os("LARIAT_KEY").filter(|label| !label.is_empty());
    variable.map(|label| parse(&label.to_string_lossy(), "LARIAT_KEY")).transpose()
}

/// Handles what clap did not parse: a request for help, or wrong usage, which is reported in one line.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed pipe is no error; a full disk is.
            match error.print() {
                Err(e) if e.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(status::FAILURE),
                _ => ExitCode::SUCCESS,
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(status::FAILURE)
        }
        _ => {
            output::error(&wrong_usage(error, arguments.get(1..).unwrap_or_default()));
            ExitCode::from(status::FAILURE)
        }
    }
}

/// The verb among the arguments, if there is one, with that below it.
fn verb(arguments: &[OsString]) -> Option<String> {
    let mut all = Cli::command();
    all.build();
    let mut command = &all;
    let mut verb = Vec::new();
    for argument in arguments {
        match command.find_subcommand(argument) {
            Some(below) => command = below,
            None => continue,
        }
        verb.push(command.get_name());
    }
    (!verb.is_empty()).then(|| verb.join(" "))
}

/// Formats clap's paragraphs as one line, with the usage line as the hint.
fn wrong_usage(error: &clap::Error, arguments: &[OsString]) -> String {
    if let Some(hint) = without_dashes(error, arguments) {
        return CliError::new("the command of run stands behind --").hint(hint).line();
    }
    if let Some(error) = foreign_option(error) {
        return error.line();
    }
    let rendered = error.render().to_string();
    let mut message = String::new();
    let mut usage = None;
    for line in rendered.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with("For more information") {
            continue;
        }
        if let Some(text) = line.strip_prefix("Usage: ") {
            usage = Some(text);
            continue;
        }
        let line = line.strip_prefix("error: ").unwrap_or(line);
        if !message.is_empty() {
            message.push_str(if line.starts_with("tip: ") { "; " } else { " " });
        }
        message.push_str(line);
    }
    let error = CliError::new(message);
    let help = || match verb(arguments) {
        Some(verb) => format!("lariat {verb} --help"),
        None => "lariat --help".to_owned(),
    };
    let hint = usage.map_or_else(help, ToOwned::to_owned);
    error.hint(hint).line()
}

/// Explains options of ssh and rsync that do not exist here or mean something else. clap would suggest passing
/// them to the command.
fn foreign_option(error: &clap::Error) -> Option<CliError> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return None };
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let error = |what: &str| Some(CliError::new(format!("there is no option {word}: {what}")));
    match word.as_bytes() {
        [b'-', b'p', ..] => error(
            "the inventory has each host's port (lariat hosts), and --parallel N says how many hosts at once",
        ),
        [b'-', b'o', ..] => error(
            "lariat needs no options of ssh; lariat rsh takes them where a program starts it for ssh",
        ),
        [b'-', b't', ..] => error("a terminal is for run and shell"),
        [b'-', b'n', ..] => error("a dry run is for push, pull and batch"),
        [b'-', b'u', ..] => error("this verb does nothing as a user of the host"),
        _ => None,
    }
}

/// The command line of a `run` whose `--` was omitted, with it.
fn without_dashes(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return None };
    let is_word = error.kind() == ErrorKind::UnknownArgument && !word.starts_with('-');
    if !is_word || verb(arguments).as_deref() != Some("run") {
        return None;
    }
    let at = arguments.iter().position(|argument| argument.to_str() == Some(word))?;
    let (before, command) = arguments.split_at(at);
    let quoted = |words: &[OsString]| {
        words.iter().map(|word| shell_word(&word.to_string_lossy())).collect::<Vec<_>>()
    };
    let words = [vec!["lariat".to_owned()], quoted(before), vec!["--".to_owned()], quoted(command)];
    Some(words.concat().join(" "))
}

#[cfg(test)]
mod tests {
    use std::mem::discriminant;

    use super::*;

    fn wrong(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from(arguments).err().unwrap();
        let arguments: Vec<_> = arguments[1..].iter().map(OsString::from).collect();
        wrong_usage(&error, &arguments)
    }

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_verbs_help_begins_with_its_line_of_the_list() {
        fn check(list: &clap::Command, built: &clap::Command) {
            for verb in list.get_subcommands() {
                let name = verb.get_name();
                let built = built.find_subcommand(name).unwrap();
                assert!(verb.get_about().is_some(), "{name}");
                assert_eq!(built.get_about(), verb.get_about(), "{name}");
                assert_eq!(built.get_long_about(), verb.get_long_about(), "{name}");
                check(verb, built);
            }
        }
        let mut built = Cli::command();
        built.build();
        check(&Cli::command(), &built);
        let hosts = built.find_subcommand("hosts").unwrap();
        assert_eq!(
            hosts.find_subcommand("import").unwrap().get_about().unwrap().to_string(),
            "Add the hosts of an ssh client configuration to the inventory, to be enrolled later"
        );
    }

    #[test]
    fn words_that_are_verbs_too_are_read_as_what_they_are() {
        let parse = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let error = |error: clap::Error| error.to_string();
            (parse(&words).map_err(error), Cli::try_parse_from(&words).map_err(error))
        };
        for line in ["lariat --key push run run -- kill hosts", "lariat ping --home hosts audit"] {
            let (few, all) = parse(line);
            let [few, all] = [few.unwrap(), all.unwrap()];
            assert_eq!(
                (&few.globals.key, &few.globals.home, discriminant(&few.command)),
                (&all.globals.key, &all.globals.home, discriminant(&all.command)),
                "{line}"
            );
        }
        for line in [
            "lariat",
            "lariat rnu",
            "lariat help run",
            "lariat -h",
            "lariat run",
            "lariat --key run",
        ] {
            let (few, all) = parse(line);
            assert_eq!(few.err().unwrap(), all.err().unwrap(), "{line}");
        }
    }

    #[test]
    fn options_stand_anywhere() {
        for line in [
            "lariat push f1 --json web1:/x",
            "lariat push f1 --chmod 644 f2 -H web1:/x --exclude a",
            "lariat push --json f1 -- web1:/x",
            "lariat pull web1:/x --json -- q",
            "lariat pull web1:/x --delete web1:/y -X q",
            "lariat run web1 --json --cwd /x -- ls -l",
            "lariat batch p.toml --dry-run @web --json",
            "lariat jobs web1 --json 3f",
            "lariat logs web1 --tail 3 3f --json",
            "lariat attach web1 --tail 3 3f",
            "lariat kill web1 --json 3f",
            "lariat hosts --json web1 --verbose",
            "lariat run -u bob -t web1 -- ls",
            "lariat run -n -q web1 -- ls",
            "lariat -q push -n -u bob f web1:",
            "lariat pull web1:f . -n -q --color never --progress=never",
            "lariat batch -n p.toml -q",
            "lariat shell -u bob web1",
            "lariat ping all -q",
        ] {
            if let Err(error) = Cli::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn the_key_to_log_in_with_stands_before_a_verb_that_has_a_key_of_its_own() {
        let keys = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let cli = with_key_of_its_own(Cli::try_parse_from(&words).unwrap(), &words);
            (cli.globals.key, cli.command.filter().map(ToOwned::to_owned))
        };
        let some = |key: &str| Some(key.to_owned());
        assert_eq!(keys("lariat audit show web1"), (None, None));
        assert_eq!(keys("lariat --key a audit show web1"), (some("a"), None));
        assert_eq!(keys("lariat audit show web1 --key b"), (None, some("b")));
        assert_eq!(keys("lariat audit --key=b show web1"), (None, some("b")));
        let both = "lariat --home audit --key a -q audit show --key b web1 --json";
        assert_eq!(keys(both), (some("a"), some("b")));
        assert_eq!(keys("lariat audit verify web1 --key a"), (some("a"), None));
    }

    #[test]
    fn wrong_usage_is_one_line_that_says_how_it_goes() {
        insta::assert_snapshot!(wrong(&["lariat", "forget"]), @"the following required arguments were not provided: <HOST>; try: lariat forget <HOST>");
        insta::assert_snapshot!(wrong(&["lariat", "enrol", "web1"]), @"unrecognized subcommand 'enrol'; tip: a similar subcommand exists: 'enroll'; try: lariat [OPTIONS] <COMMAND>");
        insta::assert_snapshot!(wrong(&["lariat", "forget", "Web1"]), @r#"invalid value 'Web1' for '<HOST>': "Web1" is not a host name, which has no capitals: did you mean web1?; try: lariat forget --help"#);
        insta::assert_snapshot!(wrong(&["lariat", "run", "--timeout", "0", "web1", "--", "true"]), @"invalid value '0' for '--timeout <DUR>': a time limit can't be 0; try: lariat run --help");
        insta::assert_snapshot!(wrong(&["lariat", "ping", "--connect-timeout", "0s", "web1"]), @"invalid value '0s' for '--connect-timeout <DUR>': a time limit can't be 0; try: lariat ping --help");
        insta::assert_snapshot!(wrong(&["lariat", "key", "add", "r", "web1", "--id", "x"]), @"invalid value 'x' for '--id <ID>': an id is 32 hexadecimal digits; try: lariat key add --help");
        insta::assert_snapshot!(wrong(&["lariat", "run", "web1", "echo", "a b", "it's"]), @r"the command of run stands behind --; try: lariat run web1 -- echo 'a b' 'it'\''s'");
        insta::assert_snapshot!(wrong(&["lariat", "run", "web*", "--json", "ls"]), @"the command of run stands behind --; try: lariat run 'web*' --json -- ls");
        insta::assert_snapshot!(wrong(&["lariat", "push"]), @"the following required arguments were not provided: <SOURCE>...; try: lariat push [OPTIONS] <SOURCE>... <TARGET:DEST>");
        insta::assert_snapshot!(wrong(&["lariat", "pull", "a", "--jso", "b"]), @"unexpected argument '--jso' found; tip: a similar argument exists: '--json'; try: lariat pull [OPTIONS] <TARGET:SOURCE>... <DEST>");
        insta::assert_snapshot!(wrong(&["lariat", "run", "-p", "22", "web1", "--", "ls"]), @"there is no option -p: the inventory has each host's port (lariat hosts), and --parallel N says how many hosts at once");
        insta::assert_snapshot!(wrong(&["lariat", "push", "-oPort=22", "f", "web1:"]), @"there is no option -o: lariat needs no options of ssh; lariat rsh takes them where a program starts it for ssh");
        insta::assert_snapshot!(wrong(&["lariat", "push", "-t", "f", "web1:"]), @"there is no option -t: a terminal is for run and shell");
        insta::assert_snapshot!(wrong(&["lariat", "ping", "-n", "web1"]), @"there is no option -n: a dry run is for push, pull and batch");
        insta::assert_snapshot!(wrong(&["lariat", "hosts", "--jso"]), @"unexpected argument '--jso' found; tip: a similar argument exists: '--json'; try: lariat hosts --json [TARGET]");
    }
}
