//! `--exclude` and `--include`, in command line order: the last rule that matches decides.

use clap::{Arg, ArgAction, ArgMatches, Command};
use lariat_wire::protocol::tree::Rule;

const EXCLUDE: &str = "exclude";
const INCLUDE: &str = "include";

/// All rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(pub(crate) Vec<Rule>);

impl clap::Args for Rules {
    fn augment_args(command: Command) -> Command {
        let glob = |name: &'static str| {
            Arg::new(name).long(name).value_name("GLOB").action(ArgAction::Append)
        };
        command
            .arg(glob(EXCLUDE).help("Exclude matching paths, as in a .gitignore").long_help(
                "Exclude matching paths, as in a .gitignore\n\n--delete keeps them too. A file that is a source \
                 itself is matched by its name. Of several --exclude and --include the last one that matches decides.",
            ))
            .arg(
                glob(INCLUDE)
                    .help("Include paths that an earlier --exclude matches")
                    .hide_short_help(true),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Rules {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let of = |name: &str, include: bool| {
            let places = matches.indices_of(name).into_iter().flatten();
            let globs = matches.get_many::<String>(name).into_iter().flatten();
            let rule = move |glob: &String| Rule { include, glob: glob.clone() };
            places.zip(globs.map(rule)).collect::<Vec<_>>()
        };
        let mut rules = [of(EXCLUDE, false), of(INCLUDE, true)].concat();
        rules.sort_by_key(|&(place, _)| place);
        Ok(Self(rules.into_iter().map(|(_, rule)| rule).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    #[test]
    fn rules_keep_their_order() {
        let command = Rules::augment_args(Command::new("push"));
        let line = ["push", "--exclude", "a", "--include", "b", "--exclude", "c", "--exclude=d"];
        let matches = command.try_get_matches_from(line).unwrap();
        let Rules(rules) = Rules::from_arg_matches(&matches).unwrap();
        let seen: Vec<_> = rules.iter().map(|rule| (rule.include, rule.glob.as_str())).collect();
        assert_eq!(seen, [(false, "a"), (true, "b"), (false, "c"), (false, "d")]);
    }
}
