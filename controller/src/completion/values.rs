//! The values that an argument can have, known by the name of its value in the help.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::Arg;
use lariat_base::name::HostName;

use super::candidate::{Candidate, Completion, Files};
use super::place::Place;
use crate::encoding;
use crate::home::Home;
use crate::inventory::{Host, Inventory};
use crate::key;
use crate::known_jobs::{self, KnownJob};
use crate::known_keys::KnownKeys;

/// Signals that are sent by hand.
const SIGNALS: [&str; 8] = ["TERM", "KILL", "HUP", "INT", "QUIT", "USR1", "USR2", "STOP"];

/// Directories that these options name are on hosts.
const ON_HOSTS: [&str; 3] = ["cwd", "push-root", "pull-root"];

/// Where values come from.
pub(super) struct Values<'a> {
    place: &'a Place<'a>,
    /// The fleet's directory, if there is one.
    home: Option<Home>,
}

impl<'a> Values<'a> {
    pub(super) fn new(place: &'a Place<'a>) -> Self {
        Self { place, home: Home::find(place.option("home").map(Path::new)).ok() }
    }

    /// The values of an argument that begin with `word`.
    pub(super) fn of(&self, argument: &Arg, word: &str) -> Completion {
        let possible = argument.get_possible_values();
        if !possible.is_empty() {
            let named = possible.iter().map(|value| Candidate::new(value.get_name(), ""));
            return Completion::fitting(named, word);
        }
        let name = argument.get_value_names().and_then(|names| names.first());
        let is_later = !self.place.words().is_empty();
        match name.map(clap::builder::Str::as_str).unwrap_or_default() {
            "TARGET" => self.targets(word, ""),
            "TARGET:DIR" => self.targets(word, ":"),
            "HOST" | "WORDS" if !is_later || argument.get_long().is_some() => self.hosts(word),
            "SOURCE" if !is_later => Completion::files(Files::Any),
            // Paths on hosts are not known here.
            "SOURCE" | "TARGET:SOURCE" if word.contains(':') => Completion::default(),
            "SOURCE" | "TARGET:SOURCE" => match self.targets(word, ":") {
                // A word that no host begins with is a file.
                targets
                    if targets.candidates.is_empty()
                        || is_later && word.is_empty() && self.is_pull() =>
                {
                    Completion::files(Files::Any)
                }
                targets => targets,
            },
            "JOB" => self.jobs(word),
            "TAG" => Completion::fitting(
                self.tags().into_iter().map(|(tag, count)| Candidate::new(tag, count)),
                word,
            ),
            "LABEL" if argument.get_long() == Some("key") && self.place.verb() != "audit show" => {
                Completion::fitting(
                    self.own_keys().into_iter().map(|label| Candidate::new(label, "")),
                    word,
                )
            }
            "LABEL" | "LABEL|ID" | "KEY" if !self.is_new_label(argument) => self.keys(word),
            "SIG" => Completion::fitting(SIGNALS.map(|signal| Candidate::new(signal, "")), word),
            "NAME" if argument.get_long() == Some("encoding") => Completion::fitting(
                encoding::COMMON.map(|(name, language)| Candidate::new(name, language)),
                word,
            ),
            "N|auto" => Completion::fitting([Candidate::new("auto", "")], word),
            "DIR" if argument.get_long().is_some_and(|long| ON_HOSTS.contains(&long)) => {
                Completion::default()
            }
            "DIR" => Completion::files(Files::Directories),
            "FILE" | "PLAN.toml" | "REQ" | "LARIATD" => Completion::files(Files::Any),
            _ => Completion::default(),
        }
    }

    fn is_pull(&self) -> bool {
        self.place.verb() == "pull"
    }

    /// A label that the user makes up.
    fn is_new_label(&self, argument: &Arg) -> bool {
        argument.get_long() == Some("label") || self.place.verb() == "key new"
    }

    fn inventory(&self) -> Inventory {
        let home = self.home.as_ref();
        home.and_then(|home| Inventory::load(home).ok()).unwrap_or_default()
    }

    /// How many hosts have each tag.
    fn tags(&self) -> BTreeMap<String, String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (_, host) in self.inventory().iter() {
            for tag in &host.tags {
                *counts.entry(tag.to_string()).or_default() += 1;
            }
        }
        let told = |(tag, count)| {
            (tag, if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") })
        };
        counts.into_iter().map(told).collect()
    }

    /// Hosts, behind a user. For enrollment only those that are not enrolled.
    fn hosts(&self, word: &str) -> Completion {
        let user = word.rfind('@').map_or(0, |at| at + 1);
        let (user, _) = word.split_at(user);
        let is_new = self.place.verb() == "enroll";
        let inventory = self.inventory();
        let hosts = inventory.iter().filter(|(_, host)| !is_new || host.enrolled.is_none());
        Completion::fitting(
            hosts.map(|(name, host)| Candidate::new(format!("{user}{name}"), described(host))),
            word,
        )
    }

    /// Terms of a target, each followed by `end`.
    fn targets(&self, word: &str, end: &str) -> Completion {
        let term = word.rfind([',', '&', '!']).map_or(0, |at| at + 1);
        let rest = &word[term..];
        // The @ of a tag is the first letter of a term or comes after the one behind a user.
        let user = rest.find('@').filter(|at| *at > 0).map_or(0, |at| at + 1);
        let before = &word[..term + user];
        let inventory = self.inventory();
        let hosts = inventory.iter().map(|(name, host)| (name.to_string(), described(host)));
        let tags = self.tags().into_iter().map(|(tag, count)| (format!("@{tag}"), count));
        let all = inventory.iter().next().map(|_| ("all".to_owned(), "every host".to_owned()));
        let terms = hosts.chain(tags).chain(all);
        Completion::fitting(
            terms.map(|(term, help)| Candidate::new(format!("{before}{term}{end}"), help)),
            word,
        )
    }

    /// Jobs that this machine has started or seen, on the host that is named before.
    fn jobs(&self, word: &str) -> Completion {
        let target = self.place.words().first().copied().unwrap_or_default();
        let known = self.home.as_ref().map(known_jobs::read).unwrap_or_default();
        let is_one_host = target.parse::<HostName>().is_ok();
        let mut ids = BTreeSet::new();
        let is_there = |job: &&KnownJob| {
            (!is_one_host || job.host.as_str() == target) && ids.insert(job.job.clone())
        };
        let jobs = known.iter().filter(is_there);
        Completion::fitting(
            jobs.map(|job| Candidate::new(job.job.clone(), job.command.clone())),
            word,
        )
    }

    /// The labels of the keys in the fleet's directory.
    fn own_keys(&self) -> BTreeSet<String> {
        let labels = self.home.as_ref().and_then(|home| key::labels(home).ok()).unwrap_or_default();
        labels.iter().map(ToString::to_string).collect()
    }

    /// Keys that this machine has seen on hosts, and its own.
    fn keys(&self, word: &str) -> Completion {
        let seen =
            self.home.as_ref().and_then(|home| KnownKeys::load(home).ok()).unwrap_or_default();
        let mut labels: BTreeSet<String> = seen.labels().map(ToOwned::to_owned).collect();
        labels.extend(self.own_keys());
        Completion::fitting(labels.into_iter().map(|label| Candidate::new(label, "")), word)
    }
}

fn described(host: &Host) -> String {
    let tags = host.tags.iter().map(|tag| format!(" @{tag}"));
    format!("{}{}", host.place(), tags.collect::<String>())
}
