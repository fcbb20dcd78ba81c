//! The command line: global options, and from arguments to an exit status.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser};
use lariat_base::name::KeyLabel;
use rustix::process::{Resource, Rlimit};

use crate::commands::{Command, rsh};
use crate::context::Context;
use crate::error::CliError;
use crate::local::OwnHost;
use crate::outages::Outages;
use crate::output::style::{self, Style, When};
use crate::seen::Seen;
use crate::ssh::Bastions;
use crate::usage;

/// Run commands on Linux hosts, and copy files to and from them.
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
    /// The fleet's directory
    ///
    /// The default is $LARIAT_HOME, else $XDG_CONFIG_HOME/lariat, else ~/.config/lariat.
    #[arg(
        help_heading = "Global options",
        long,
        global = true,
        hide_short_help = true,
        value_name = "DIR"
    )]
    home: Option<PathBuf>,

    /// The key to log in with, keys/LABEL.key
    ///
    /// The default is $LARIAT_KEY, else USER@HOSTNAME, else the only key.
    #[arg(
        help_heading = "Global options",
        long,
        global = true,
        hide_short_help = true,
        value_name = "LABEL"
    )]
    // Text, since a verb that reads a key of others has the same option.
    key: Option<String>,

    /// Use the agent on this machine, over its socket
    ///
    /// It needs no fleet and no key; HOST is the machine's name in its agent.toml.
    #[arg(help_heading = "Global options", long, global = true, hide_short_help = true)]
    local: bool,

    /// Configuration of the agent, for --local
    ///
    /// The default is $LARIAT_AGENT_CONFIG, else /etc/lariat/agent.toml.
    #[arg(
        help_heading = "Global options",
        long,
        global = true,
        hide_short_help = true,
        value_name = "FILE",
        requires = "local"
    )]
    agent_config: Option<PathBuf>,

    /// Show the full chain of causes of an error
    #[arg(help_heading = "Global options", short, long, global = true, hide_short_help = true)]
    verbose: bool,

    /// Print only results and errors
    #[arg(help_heading = "Global options", short, long, global = true, hide_short_help = true)]
    quiet: bool,

    /// When to use colors
    #[arg(help_heading = "Global options", long, global = true, hide_short_help = true, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    color: When,

    /// When to show progress
    #[arg(help_heading = "Global options", long, global = true, hide_short_help = true, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    progress: When,
}

/// Runs the command line that this process was given.
pub fn main() -> ExitCode {
    // A core dump would contain keys. There is no fallback if the limit can't be set.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    let _ = lariat_engine::file_size_limit::report_as_error();

    let arguments: Vec<_> = std::env::args_os().collect();
    match in_place_of_ssh(&arguments).unwrap_or_else(|| parse(&arguments)) {
        Ok(cli) => {
            let Cli { globals, command } = with_key_of_its_own(cli, &arguments);
            let Globals { home, key, local, agent_config, verbose, quiet, color, progress } =
                globals;
            style::set(Style { quiet, color, progress });
            let outages = Outages::new(verbose);
            let find =
                || command.check_local().and_then(|()| OwnHost::find(agent_config.as_deref()));
            let local = local.then(find);
            let seen = Seen::new(outages.clone());
            let bastions = Bastions::default();
            let done = local.transpose().and_then(|local| {
                let key = login_key(key.as_deref())?;
                let (seen, syntax) = (seen.clone(), Cli::command);
                let bastions = bastions.clone();
                command.run(&Context { home, key, local, verbose, outages, bastions, seen, syntax })
            });
            bastions.end();
            seen.save();
            done.unwrap_or_else(|error| error.report(verbose))
        }
        Err(error) => usage::report(&error, &arguments, Cli::command()),
    }
}

/// The command line of a program that is called in the place of ssh; `None` if this is not. Its arguments are ssh's.
fn in_place_of_ssh(arguments: &[OsString]) -> Option<Result<Cli, clap::Error>> {
    const NAMES: [&str; 2] = ["lariat-ssh", "ssh"];
    let (program, words) = arguments.split_first()?;
    let name = Path::new(program).file_name()?;
    if !NAMES.iter().any(|own| name == *own) {
        return None;
    }
    // Without options of its own.
    let plain = Cli::try_parse_from(["lariat", "rsh", "HOST"]);
    let command = Command::Rsh(rsh::Args::of_ssh(words.to_vec()));
    Some(plain.map(|cli| Cli { command, ..cli }))
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

#[cfg(test)]
mod tests {
    use std::mem::discriminant;

    use super::*;
    use crate::overview;

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
            "Add the hosts of an ssh configuration, to be enrolled later"
        );
    }

    #[test]
    fn the_short_help_is_one_screen_with_one_line_an_option() {
        fn check(verb: &clap::Command) {
            let name = verb.get_name();
            let help = verb.clone().render_help().to_string();
            // That of lariat itself is a page of its own.
            let lines = help.lines().count();
            assert!(lines <= 24 || name == "lariat", "{lines} lines:\n{help}");
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
                assert!(!line.starts_with("          "), "{name}: a second line: {line}");
            }
            let long = verb.clone().render_long_help().to_string();
            for line in long.lines().filter(|line| !line.starts_with("  ")) {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
            verb.get_subcommands().filter(|below| !below.is_hide_set()).for_each(check);
        }
        let mut all = Cli::command().term_width(80).disable_help_subcommand(true);
        all.build();
        check(&all);
    }

    #[test]
    fn the_overview_is_one_screen_and_names_every_verb() {
        let syntax = Cli::command();
        let asked = |line: &str| {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            overview::requested(&words, &syntax)
        };
        let page = asked("-h").unwrap();
        assert!(page.lines().count() <= 24, "{page}");
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
        let words: Vec<_> = page.lines().skip(4).flat_map(str::split_whitespace).collect();
        for verb in syntax.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            assert!(words.contains(&verb.get_name()), "{}: {page}", verb.get_name());
        }
        assert!(page.lines().all(|line| !line.trim_end().ends_with("   ")), "{page}");
        assert_eq!((asked("").as_ref(), asked("--quiet -h").as_ref()), (Some(&page), Some(&page)));
        for other in ["--help", "run -h", "-h run", "run --help", "help"] {
            assert_eq!(asked(other), None, "{other}");
        }
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
}
