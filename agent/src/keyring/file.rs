//! The keyring's file: TOML, whose mistakes are reported with their line.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use lariat_base::date::{self, BadDate};
use lariat_base::name::{HostName, KeyId, KeyLabel};
use lariat_base::secret::Secret;
use lariat_base::toml_file::{self, BadContent, from_text, secret};
use lariat_wire::auth::proof::Verifier;
use lariat_wire::protocol::verb::{Verb, Verbs};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::value::Datetime;

use super::entry::{Entry, Lined, List, Pending};
use super::{Keyring, is_local};
use crate::policy::pattern::Pattern;

/// Most patterns of an entry.
const MAX_PATTERNS: usize = 256;

impl Keyring {
    /// Parses a keyring; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, BadContent> {
        let file: File = toml_file::parse(path, text)?;
        let reader = Reader::new(path, text);
        let (mut entries, mut names) = (Vec::new(), BTreeMap::new());
        for (number, entry) in file.key.into_iter().enumerate() {
            let start = entry.id.span().start;
            let entry = reader.entry(entry)?;
            for id in entry.ids() {
                if is_local(id) {
                    return Err(reader.wrong(start, &format!("no key can have the id {id}")));
                }
                if *names.entry(id).or_insert(number) != number {
                    return Err(reader.wrong(start, &format!("a second entry has the id {id}")));
                }
            }
            entries.push(Arc::new(entry));
        }
        Ok(Self::new(entries))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<FileEntry>,
}

/// A list, and its parts, as they are written.
type Texts = Spanned<Vec<Spanned<String>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    id: Spanned<FileId>,
    #[serde(deserialize_with = "from_text")]
    label: KeyLabel,
    owner: Option<FileId>,
    #[serde(default)]
    was: Vec<FileId>,
    pending: Option<FilePending>,
    #[serde(deserialize_with = "secret")]
    stored: Secret,
    #[serde(deserialize_with = "secret")]
    agent: Secret,
    verbs: Option<Texts>,
    users: Option<Texts>,
    networks: Option<Texts>,
    #[serde(default, deserialize_with = "start")]
    not_before: Option<SystemTime>,
    #[serde(default, deserialize_with = "end")]
    not_after: Option<SystemTime>,
    push: Option<Texts>,
    pull: Option<Texts>,
    commands: Option<Spanned<Vec<Spanned<Vec<String>>>>>,
    stdin: Option<Spanned<bool>>,
    connect: Option<Texts>,
    listen: Option<Texts>,
    park: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "most")]
    max_sessions: Option<usize>,
    #[serde(default, deserialize_with = "most")]
    max_jobs: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePending {
    #[serde(deserialize_with = "from_text")]
    id: KeyId,
    #[serde(deserialize_with = "secret")]
    stored: Secret,
    #[serde(deserialize_with = "secret")]
    agent: Secret,
    #[serde(deserialize_with = "end")]
    since: Option<SystemTime>,
}

impl From<FilePending> for Pending {
    fn from(FilePending { id, stored, agent, since }: FilePending) -> Self {
        let verifier = Verifier { stored, agent };
        Self { id, verifier, since: since.unwrap_or(UNIX_EPOCH) }
    }
}

#[derive(Deserialize)]
struct FileId(#[serde(deserialize_with = "from_text")] KeyId);

/// Turns what was parsed into entries.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { path, text, ends }
    }

    fn line(&self, start: usize) -> usize {
        self.ends.partition_point(|&end| end < start) + 1
    }

    fn wrong(&self, start: usize, why: &(impl ToString + ?Sized)) -> BadContent {
        BadContent::at(self.path, self.text, start, &why.to_string())
    }

    fn entry(&self, file: FileEntry) -> Result<Entry, BadContent> {
        self.check(&file)?;
        let id = file.id.into_inner().0;
        let verbs = match &file.verbs {
            Some(verbs) => self.verbs(verbs)?,
            // It parks, and does nothing else.
            None => Lined { line: 0, value: Verbs::default() },
        };
        let park = |park: Spanned<String>| {
            let (name, at) = (park.as_ref().parse::<HostName>(), park.span().start);
            let value = name.map_err(|error| self.wrong(at, &error))?;
            Ok(Lined { line: self.line(at), value })
        };
        Ok(Entry {
            id,
            label: file.label.to_string(),
            owner: file.owner.map_or(id, |FileId(owner)| owner),
            was: file.was.into_iter().map(|FileId(was)| was).collect(),
            pending: file.pending.map(Pending::from),
            verbs,
            users: self.list(file.users, user)?.map(unlined),
            networks: self.list(file.networks, network)?.map(unlined),
            not_before: file.not_before,
            not_after: file.not_after,
            push: self.list(file.push, str::parse)?,
            pull: self.list(file.pull, str::parse)?,
            commands: file.commands.map(|commands| self.commands(commands)).transpose()?,
            stdin: file.stdin.is_some_and(Spanned::into_inner),
            connect: self.list(file.connect, str::parse)?,
            listen: self.list(file.listen, str::parse)?,
            park: file.park.map(park).transpose()?,
            max_sessions: file.max_sessions,
            max_jobs: file.max_jobs,
            verifier: Verifier { stored: file.stored, agent: file.agent },
        })
    }

    /// Checks which rules an entry has together.
    fn check(&self, file: &FileEntry) -> Result<(), BadContent> {
        let start = |texts: &Option<Texts>| texts.as_ref().map(|texts| texts.span().start);
        let commands = file.commands.as_ref().map(|commands| commands.span().start);
        let narrows = [
            ("users", start(&file.users)),
            ("commands", commands),
            ("push", start(&file.push)),
            ("pull", start(&file.pull)),
            ("connect", start(&file.connect)),
        ];
        let stdin = file.stdin.as_ref().map(|stdin| stdin.span().start);
        if file.park.is_some() {
            let others = [
                ("verbs", start(&file.verbs)),
                ("networks", start(&file.networks)),
                ("listen", start(&file.listen)),
                ("stdin", stdin),
            ];
            let all = narrows.into_iter().chain(others);
            return match all.into_iter().find_map(|(name, at)| Some((name, at?))) {
                Some((name, at)) => {
                    Err(self.wrong(at, &format!("`park` stands alone, without `{name}`")))
                }
                None => Ok(()),
            };
        }
        let Some(verbs) = &file.verbs else {
            let why = "the key verbs is missing: what the key may do";
            return Err(self.wrong(file.id.span().start, why));
        };
        let full = verbs
            .as_ref()
            .iter()
            .find(|verb| matches!(verb.as_ref().parse(), Ok(Verb::Keys | Verb::Upgrade)));
        if let (Some(verb), Some((name, at))) =
            (full, narrows.into_iter().find_map(|(name, at)| Some((name, at?))))
        {
            let verb = verb.as_ref();
            let why = format!("`{verb}` is full power over the host, which `{name}` can't narrow");
            return Err(self.wrong(at, &why));
        }
        match stdin {
            Some(at) if commands.is_none() => {
                Err(self.wrong(at, "`stdin` is for an entry with `commands`"))
            }
            _ => Ok(()),
        }
    }

    fn verbs(&self, texts: &Texts) -> Result<Lined<Verbs>, BadContent> {
        let verb = |text: &Spanned<String>| {
            let verb = text.as_ref().parse::<Verb>();
            verb.map_err(|unknown| self.wrong(text.span().start, &unknown))
        };
        let value = texts.as_ref().iter().map(verb).collect::<Result<Verbs, _>>()?;
        Ok(Lined { line: self.line(texts.span().start), value })
    }

    /// Parses the parts of a list.
    fn list<T, E: ToString>(
        &self,
        texts: Option<Texts>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<List<Lined<T>>, BadContent> {
        let part = |text: &Spanned<String>| {
            let at = text.span().start;
            let value = parse(text.as_ref()).map_err(|error| self.wrong(at, &error))?;
            Ok(Lined { line: self.line(at), value })
        };
        let whole = |texts: Texts| {
            let line = self.line(texts.span().start);
            Ok(Lined { line, value: texts.as_ref().iter().map(part).collect::<Result<_, _>>()? })
        };
        texts.map(whole).transpose()
    }

    fn commands(
        &self,
        commands: Spanned<Vec<Spanned<Vec<String>>>>,
    ) -> Result<Lined<Vec<Lined<Pattern>>>, BadContent> {
        let start = commands.span().start;
        let commands = commands.into_inner();
        if commands.len() > MAX_PATTERNS {
            return Err(self.wrong(start, &format!("over {MAX_PATTERNS} commands in an entry")));
        }
        let pattern = |words: Spanned<Vec<String>>| {
            let at = words.span().start;
            let value = Pattern::new(words.into_inner()).map_err(|bad| self.wrong(at, &bad))?;
            Ok(Lined { line: self.line(at), value })
        };
        let value = commands.into_iter().map(pattern).collect::<Result<_, _>>()?;
        Ok(Lined { line: self.line(start), value })
    }
}

/// A list whose parts need no lines of their own.
fn unlined<T>(list: Lined<Vec<Lined<T>>>) -> Lined<Vec<T>> {
    let value = list.value.into_iter().map(|part| part.value).collect();
    Lined { line: list.line, value }
}

fn user(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.contains('\0') {
        Err("no user has this name")
    } else {
        Ok(text.into())
    }
}

/// A network, or a single address.
fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse())
        .map_err(|_| format!("{text:?} is no network, such as 10.0.0.0/8, fd00::/8 or 192.0.2.7"))
}

/// When a key may first be used: a day counts from its beginning.
fn start<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    moment(deserializer, date::parse_start)
}

/// When a key may last be used: a day counts to its end.
fn end<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    moment(deserializer, date::parse)
}

/// A limit. A key that may do nothing has no verb for it.
fn most<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(serde::de::Error::custom("0 would permit nothing; leave its verb out instead")),
        most => Ok(Some(most)),
    }
}

/// A moment, as a TOML date or as a string. A time needs its UTC offset: a keyring may be written in one time zone and
/// read in another.
fn moment<'de, D: Deserializer<'de>>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<u64, BadDate>,
) -> Result<Option<SystemTime>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Toml(Datetime),
        Text(String),
    }
    let bad = || {
        let example = "not a day such as 2027-01-31, nor a date and time with its offset, such as 2027-01-31T12:00:00Z";
        serde::de::Error::custom(example)
    };
    let text = match Either::deserialize(deserializer).map_err(|_| bad())? {
        Either::Toml(date) => date.to_string(),
        Either::Text(text) => text,
    };
    let seconds = parse(&text).map_err(|_| bad())?;
    Ok(Some(UNIX_EPOCH + Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests;
