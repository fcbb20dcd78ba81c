//! Finds what belongs in a place of the command line: a verb, an option, or the value of an argument.

use clap::{Arg, Command};

/// A place behind complete words.
pub(super) struct Place<'a> {
    command: &'a Command,
    /// The verb and that below it.
    verbs: Vec<&'a str>,
    /// The words that are no options.
    words: Vec<&'a str>,
    /// The options with values.
    options: Vec<(&'a Arg, &'a str)>,
    /// The option whose value comes next.
    open: Option<&'a Arg>,
    /// After `--`
    only_words: bool,
}

/// What belongs in a place.
pub(super) enum Wanted<'a> {
    /// A verb, or a value of [`Place::positional`].
    Verb,
    /// An option.
    Option,
    /// A value of this argument, of which `word` is typed, behind `prefix` in the same word.
    Value { argument: &'a Arg, prefix: &'a str, word: &'a str },
    /// Nothing that is known here.
    Nothing,
}

impl<'a> Place<'a> {
    /// The place after these words of a command line, which is built.
    pub(super) fn after(command: &'a Command, words: &'a [String]) -> Self {
        let mut place = Self {
            command,
            verbs: Vec::new(),
            words: Vec::new(),
            options: Vec::new(),
            open: None,
            only_words: false,
        };
        words.iter().for_each(|word| place.pass(word));
        place
    }

    fn pass(&mut self, word: &'a str) {
        if let Some(option) = self.open.take() {
            self.options.push((option, word));
        } else if self.only_words {
            self.words.push(word);
        } else if word == "--" {
            self.only_words = true;
        } else if let Some(long) = word.strip_prefix("--") {
            match long.split_once('=') {
                Some((name, value)) => {
                    let option = self.long(name);
                    self.options.extend(option.map(|option| (option, value)));
                }
                None => self.open = self.long(long).filter(|option| takes_value(option)),
            }
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            self.open = self.short(letters);
        } else if let Some(below) =
            self.command.find_subcommand(word).filter(|_| self.words.is_empty())
        {
            self.command = below;
            self.verbs.push(below.get_name());
        } else {
            self.words.push(word);
        }
    }

    fn long(&self, name: &str) -> Option<&'a Arg> {
        self.command.get_arguments().find(|argument| argument.get_long() == Some(name))
    }

    /// The option of the last letter, if its value comes in the next word.
    fn short(&self, letters: &str) -> Option<&'a Arg> {
        let of =
            |letter| self.command.get_arguments().find(|option| option.get_short() == Some(letter));
        let taking = letters.char_indices().find_map(|(at, letter)| {
            of(letter)
                .filter(|option| takes_value(option))
                .map(|option| (at + letter.len_utf8(), option))
        });
        taking.filter(|(end, _)| *end == letters.len()).map(|(_, option)| option)
    }

    /// What belongs here, of which `word` is typed.
    pub(super) fn wanted<'b>(&self, word: &'b str) -> Wanted<'b>
    where
        'a: 'b,
    {
        if let Some(argument) = self.open {
            return Wanted::Value { argument, prefix: "", word };
        }
        if !self.only_words && word.starts_with('-') {
            let Some(equals) = word.find('=') else { return Wanted::Option };
            let (prefix, value) = word.split_at(equals + 1);
            return match self.long(prefix.trim_matches(['-', '='])) {
                Some(argument) => Wanted::Value { argument, prefix, word: value },
                None => Wanted::Nothing,
            };
        }
        if self.words.is_empty() && (self.command.has_subcommands() || self.is_at_root()) {
            return Wanted::Verb;
        }
        match self.positional() {
            Some(argument) => Wanted::Value { argument, prefix: "", word },
            None => Wanted::Nothing,
        }
    }

    /// The argument whose value the next word is.
    pub(super) fn positional(&self) -> Option<&'a Arg> {
        let place = |argument: &&Arg| {
            argument.get_index().is_some() && argument.is_last_set() == self.only_words
        };
        let mut all: Vec<&Arg> = self.command.get_positionals().filter(place).collect();
        if all.is_empty() && self.only_words {
            all = self.command.get_positionals().collect();
        }
        all.sort_by_key(|argument| argument.get_index());
        let is_many =
            |argument: &&&Arg| argument.get_num_args().is_some_and(|count| count.max_values() > 1);
        let here = all.get(self.words.len()).copied();
        here.or_else(|| all.last().filter(is_many).copied())
    }

    /// Whether no verb is typed yet.
    pub(super) fn is_at_root(&self) -> bool {
        self.verbs.is_empty()
    }

    pub(super) fn command(&self) -> &'a Command {
        self.command
    }

    /// The verb and that below it: `key add`.
    pub(super) fn verb(&self) -> String {
        self.verbs.join(" ")
    }

    /// The words before, without options.
    pub(super) fn words(&self) -> &[&'a str] {
        &self.words
    }

    /// The value of an option before.
    pub(super) fn option(&self, name: &str) -> Option<&'a str> {
        let mut all = self.options.iter().rev();
        all.find(|(option, _)| option.get_long() == Some(name)).map(|(_, value)| *value)
    }
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}
