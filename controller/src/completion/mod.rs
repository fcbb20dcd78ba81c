//! What can be typed next in a command line, from what is on this machine: verbs, options, hosts, tags, keys, jobs. No host
//! is contacted, and what can't be read has no candidates.

mod candidate;
mod place;
mod values;
mod words;

pub(crate) use self::candidate::{Candidate, Completion, Files};
use self::place::{Place, Wanted};
use self::values::Values;
pub(crate) use self::words::split;

/// Completes the last of `words`, which are those after the program's name.
pub(crate) fn complete(syntax: &clap::Command, words: &[String]) -> Completion {
    let Some((word, before)) = words.split_last() else { return Completion::default() };
    let mut few = relevant(syntax, before);
    few.build();
    let place = Place::after(&few, before);
    match place.wanted(word) {
        Wanted::Nothing => Completion::default(),
        Wanted::Option => Completion::fitting(options(place.command()), word),
        Wanted::Value { argument, prefix, word } => {
            let Completion { candidates, files } = Values::new(&place).of(argument, word);
            let candidates = candidates.into_iter();
            let whole =
                candidates.map(|one| Candidate { value: format!("{prefix}{}", one.value), ..one });
            Completion { candidates: whole.collect(), files }
        }
        Wanted::Verb => {
            // Before a verb, `few` has none.
            let command = if place.is_at_root() { syntax } else { place.command() };
            let mut completion = Completion::fitting(verbs(command), word);
            if let Some(argument) = place.positional() {
                let more = Values::new(&place).of(argument, word);
                completion.candidates.extend(more.candidates);
                completion.files = more.files;
            }
            completion
        }
    }
}

/// The command line with the verbs that the words name: building all of them would take most of the time.
fn relevant(syntax: &clap::Command, words: &[String]) -> clap::Command {
    let named =
        syntax.get_subcommands().filter(|verb| words.iter().any(|word| word == verb.get_name()));
    clap::Command::new("lariat").args(syntax.get_arguments().cloned()).subcommands(named.cloned())
}

fn verbs(command: &clap::Command) -> Vec<Candidate> {
    let shown = command.get_subcommands();
    let shown = shown.filter(|verb| !verb.is_hide_set() && verb.get_name() != "help");
    shown.map(|verb| Candidate::new(verb.get_name(), first_line(verb.get_about()))).collect()
}

fn options(command: &clap::Command) -> Vec<Candidate> {
    let mut all = Vec::new();
    for argument in command
        .get_arguments()
        .filter(|argument| !argument.is_positional() && !argument.is_hide_set())
    {
        let help = first_line(argument.get_help());
        match (argument.get_long(), argument.get_short()) {
            (Some(long), _) => all.push(Candidate::new(format!("--{long}"), help)),
            (None, Some(short)) => all.push(Candidate::new(format!("-{short}"), help)),
            (None, None) => {}
        }
    }
    all
}

fn first_line(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}
