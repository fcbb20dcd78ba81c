//! Edits a keyring's text and leaves everything else in it as a person wrote it. Pure: a text goes in and comes out.

use std::fmt::Write;

use lariat_base::date;
use lariat_base::name::KeyId;
use lariat_base::secret::Secret;
use lariat_wire::protocol::key::{KeyAdd, KeyProblem, KeyVerifier, Rules};
use lariat_wire::protocol::verb::{Verb, Verbs};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};
use zeroize::Zeroizing;

/// The edited text.
type Edited = Result<Zeroizing<String>, KeyProblem>;

/// Adds an entry at the end.
pub(super) fn add(text: &str, add: &KeyAdd) -> Edited {
    let KeyAdd { id, label, verifier, rules, .. } = add;
    let mut entry = Table::new();
    entry["id"] = value(id.to_string());
    entry["label"] = value(label.as_str());
    entry["stored"] = secret(&verifier.stored);
    entry["agent"] = secret(&verifier.agent);
    for (name, item) in fields(rules)? {
        if let Some(item) = item {
            entry[name] = item;
        }
    }
    let mut out = Zeroizing::new(String::with_capacity(text.len() + 4096));
    out.push_str(text);
    if !text.is_empty() {
        out.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
    }
    write!(out, "[[key]]\n{entry}").expect("a String takes what is written to it");
    Ok(out)
}

/// Replaces the rules of an entry.
pub(super) fn allow(text: &str, id: KeyId, rules: &Rules) -> Edited {
    change(text, id, |entry| {
        for (name, item) in fields(rules)? {
            match item {
                Some(item) => set(entry, name, item),
                None => drop(entry.remove(name)),
            }
        }
        Ok(())
    })
}

/// Lets another key log in for an entry, beside the entry's own.
pub(super) fn begin(text: &str, id: KeyId, new: KeyId, verifier: &KeyVerifier, now: u64) -> Edited {
    change(text, id, |entry| {
        let mut pending = InlineTable::new();
        pending.insert("id", new.to_string().into());
        pending.insert("stored", verifier.stored.to_hex().as_str().into());
        pending.insert("agent", verifier.agent.to_hex().as_str().into());
        pending.insert("since", dated(now)?);
        set(entry, "pending", value(pending));
        Ok(())
    })
}

/// Gives an entry to the key that waits to take it over.
pub(super) fn finish(text: &str, id: KeyId, owner: KeyId) -> Edited {
    change(text, id, |entry| {
        let pending = entry.remove("pending").ok_or(KeyProblem::NotPending)?;
        for name in ["id", "stored", "agent"] {
            let new = pending.get(name).cloned().ok_or(KeyProblem::NotPending)?;
            set(entry, name, new);
        }
        set(entry, "owner", value(owner.to_string()));
        let was = entry.entry("was").or_insert_with(|| value(Array::new()));
        let was = was.as_array_mut().ok_or_else(|| form("was is not a list"))?;
        was.push(id.to_string());
        Ok(())
    })
}

/// Removes an entry, with the comment right above it. What stands before a blank line there, such as the file's own
/// heading, stays.
pub(super) fn remove(text: &str, id: KeyId) -> Edited {
    let mut document = parse(text)?;
    let keys = keys(&mut document)?;
    let number = position(keys, id)?;
    let prefix = keys.get(number).and_then(|entry| entry.decor().prefix()?.as_str());
    let prefix = prefix.unwrap_or_default();
    let kept = prefix.rfind("\n\n").map(|at| &prefix[..at + 2]).unwrap_or_default();
    let kept = if kept.trim().is_empty() { String::new() } else { kept.to_owned() };
    keys.remove(number);
    if let Some(next) = keys.get_mut(number) {
        let old = next.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
        let begins = number == 0 || !kept.is_empty();
        let old = if begins { old.trim_start_matches('\n') } else { old };
        let joined = format!("{kept}{old}");
        next.decor_mut().set_prefix(joined);
    } else {
        let joined = format!("{kept}{}", document.trailing().as_str().unwrap_or_default());
        document.set_trailing(joined);
    }
    Ok(Zeroizing::new(document.to_string()))
}

fn change(
    text: &str,
    id: KeyId,
    edit: impl FnOnce(&mut Table) -> Result<(), KeyProblem>,
) -> Edited {
    let mut document = parse(text)?;
    let keys = keys(&mut document)?;
    let number = position(keys, id)?;
    edit(keys.get_mut(number).ok_or(KeyProblem::NoSuchKey)?)?;
    Ok(Zeroizing::new(document.to_string()))
}

fn parse(text: &str) -> Result<DocumentMut, KeyProblem> {
    text.parse().map_err(|_| form("it is not TOML"))
}

fn keys(document: &mut DocumentMut) -> Result<&mut ArrayOfTables, KeyProblem> {
    let keys = document.get_mut("key").ok_or(KeyProblem::NoSuchKey)?;
    keys.as_array_of_tables_mut().ok_or_else(|| form("its entries do not begin with [[key]]"))
}

fn position(keys: &ArrayOfTables, id: KeyId) -> Result<usize, KeyProblem> {
    let is_it = |entry: &Table| {
        let text = entry.get("id").and_then(Item::as_str);
        text.and_then(|text| text.parse().ok()) == Some(id)
    };
    keys.iter().position(is_it).ok_or(KeyProblem::NoSuchKey)
}

/// Sets a field; what stands around the old value, such as a comment behind it, stays.
fn set(entry: &mut Table, name: &str, new: Item) {
    match (entry.get_mut(name).and_then(Item::as_value_mut), new) {
        (Some(old), Item::Value(mut new)) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        (_, new) => entry[name] = new,
    }
}

/// Every field that rules can have, in the order in which a new entry has them.
fn fields(rules: &Rules) -> Result<[(&'static str, Option<Item>); 14], KeyProblem> {
    let list = |list: &Option<Vec<String>>| list.as_ref().map(|list| value(array(list)));
    let date = |at: Option<u64>| at.map(|at| dated(at).map(Item::Value)).transpose();
    let number = |number: Option<u32>| number.map(|number| value(i64::from(number)));
    let commands = rules.commands.as_ref().map(|commands| value(patterns(commands)));
    let verbs: Array = rules.verbs.iter().map(Verb::as_str).collect();
    let has_verbs = rules.park.is_none() || rules.verbs != Verbs::default();
    Ok([
        ("verbs", has_verbs.then(|| value(verbs))),
        ("users", list(&rules.users)),
        ("networks", list(&rules.networks)),
        ("not_before", date(rules.not_before)?),
        ("not_after", date(rules.not_after)?),
        ("push", list(&rules.push)),
        ("pull", list(&rules.pull)),
        ("commands", commands),
        ("stdin", rules.stdin.then(|| value(true))),
        ("connect", list(&rules.connect)),
        ("listen", list(&rules.listen)),
        ("max_sessions", number(rules.max_sessions)),
        ("max_jobs", number(rules.max_jobs)),
        ("park", rules.park.as_ref().map(|host| value(host.as_str()))),
    ])
}

/// Several patterns have a line each, so that messages can name the one that they are about.
fn patterns(commands: &[Vec<String>]) -> Array {
    let mut all: Array = commands.iter().map(|words| array(words)).collect();
    if all.len() > 1 {
        all.iter_mut().for_each(|pattern| pattern.decor_mut().set_prefix("\n    "));
        all.set_trailing("\n");
        all.set_trailing_comma(true);
    }
    all
}

fn array(texts: &[String]) -> Array {
    texts.iter().map(String::as_str).collect()
}

fn secret(secret: &Secret) -> Item {
    value(secret.to_hex().as_str())
}

fn dated(seconds: u64) -> Result<Value, KeyProblem> {
    let date = date::format(seconds).and_then(|text| text.parse::<toml_edit::Datetime>().ok());
    let date = date.ok_or_else(|| KeyProblem::Mistake("a date is out of range".to_owned()))?;
    Ok(date.into())
}

fn form(why: &str) -> KeyProblem {
    KeyProblem::Form(why.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lariat_base::name::EnrolmentId;
    use proptest::prelude::*;

    use super::*;
    use crate::keyring::Keyring;

    fn id(byte: u8) -> KeyId {
        KeyId([byte; 16])
    }

    fn verifier(byte: u8) -> KeyVerifier {
        KeyVerifier { stored: Secret::new([byte; 32]), agent: Secret::new([byte; 32]) }
    }

    fn rules(verbs: &[Verb]) -> Rules {
        Rules { verbs: verbs.iter().copied().collect(), ..Rules::default() }
    }

    fn key(byte: u8, rules: Rules) -> KeyAdd {
        KeyAdd {
            revision: [0; 16],
            enrolment: EnrolmentId([0; 16]),
            id: id(byte),
            label: format!("key{byte}@box").parse().unwrap(),
            verifier: verifier(byte),
            rules,
            again: false,
            dry_run: false,
        }
    }

    fn keyring(text: &str) -> Keyring {
        Keyring::parse(Path::new("keyring.toml"), text).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    /// A keyring that people have written to.
    fn written() -> String {
        let mut text = "# Who may log in.\n\n".to_owned();
        for byte in 1..=3 {
            let entry = add("", &key(byte, rules(&[Verb::Run]))).unwrap();
            let entry = entry.replace("verbs = [\"run\"]", "verbs = [ \"run\" ] # only this");
            write!(text, "# the {byte}. key\n{entry}# below {byte}\n\n").unwrap();
        }
        text + "# the end\n"
    }

    #[test]
    fn an_entry_is_added_below_what_is_there() {
        let rules = Rules {
            users: Some(vec!["www".to_owned()]),
            not_after: Some(1_900_000_000),
            max_jobs: Some(2),
            ..rules(&[Verb::Run, Verb::Push])
        };
        let old = "# only a comment";
        let new = add(old, &key(7, rules)).unwrap();
        let hex = "07".repeat(32);
        assert_eq!(
            *new,
            format!(
                "{old}\n\n[[key]]\nid = \"{}\"\nlabel = \"key7@box\"\nstored = \"{hex}\"\n\
                 agent = \"{hex}\"\nverbs = [\"run\", \"push\"]\nusers = [\"www\"]\n\
                 not_after = 2030-03-17T17:46:40Z\nmax_jobs = 2\n",
                "07".repeat(16)
            )
        );
        let parsed = keyring(&new);
        let entry = parsed.entry(id(7)).unwrap();
        assert_eq!((entry.max_jobs, entry.rules().users), (Some(2), Some(vec!["www".to_owned()])));
        assert!(entry.verbs.contains(Verb::Push) && entry.not_after.is_some());
    }

    #[test]
    fn an_entry_that_parks_has_no_verbs() {
        let park = Some("web3".parse().unwrap());
        let new = add("", &key(7, Rules { park: park.clone(), ..Rules::default() })).unwrap();
        assert!(new.ends_with("\"\npark = \"web3\"\n") && !new.contains("verbs"), "{}", *new);
        let parsed = keyring(&new);
        assert_eq!(parsed.entry(id(7)).unwrap().rules(), Rules { park, ..Rules::default() });
        let other = allow(&new, id(7), &rules(&[Verb::Run])).unwrap();
        assert!(keyring(&other).entry(id(7)).unwrap().park.is_none());
    }

    #[test]
    fn a_removed_entry_takes_its_comment_along_and_leaves_the_heading() {
        let text = written();
        let first = remove(&text, id(1)).unwrap();
        assert!(
            first.starts_with("# Who may log in.\n\n# below 1\n\n# the 2. key\n[[key]]"),
            "{}",
            *first
        );
        let last = remove(&text, id(3)).unwrap();
        assert!(last.ends_with("# below 2\n\n# below 3\n\n# the end\n"), "{}", *last);
        assert_eq!(remove(&text, id(9)).err(), Some(KeyProblem::NoSuchKey));
        let inline = "key = [{ id = \"x\" }]\n";
        assert!(matches!(remove(inline, id(1)), Err(KeyProblem::Form(_))));
    }

    #[test]
    fn a_key_takes_an_entry_over_and_its_rules_stay() {
        let text = written();
        let waiting = begin(&text, id(2), id(8), &verifier(8), 1_900_000_000).unwrap();
        assert!(keyring(&waiting).entry(id(8)).is_some_and(|entry| entry.id == id(2)));
        let done = finish(&waiting, id(2), id(2)).unwrap();
        let (parsed, entry) = (keyring(&done), id(8));
        let entry = parsed.entry(entry).unwrap();
        assert_eq!((entry.id, entry.owner, &entry.was[..]), (id(8), id(2), &[id(2)][..]));
        assert!(parsed.entry(id(2)).is_none() && entry.pending.is_none());
        assert!(done.contains("verbs = [ \"run\" ] # only this"));
        let twice = begin(&done, id(8), id(9), &verifier(9), 1_900_000_000).unwrap();
        let twice = finish(&twice, id(8), id(2)).unwrap();
        assert_eq!(keyring(&twice).entry(id(9)).unwrap().was, [id(2), id(8)]);
        assert_eq!(finish(&text, id(2), id(2)).err(), Some(KeyProblem::NotPending));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(u8),
        Remove(u8),
        Allow(u8, u32, Option<u32>),
        Rotate(u8, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (10_u8..60).prop_map(Step::Add),
            (1_u8..60).prop_map(Step::Remove),
            (1_u8..60, 0_u32..4096, proptest::option::of(1_u32..9))
                .prop_map(|(key, verbs, jobs)| Step::Allow(key, verbs, jobs)),
            (1_u8..60, 60_u8..99).prop_map(|(old, new)| Step::Rotate(old, new)),
        ]
    }

    /// The lines of a text that are not of the entry with this id.
    fn others(text: &str, id: KeyId) -> Vec<String> {
        let id = format!("id = \"{id}\"");
        let mut entries = text.split_inclusive("[[key]]\n");
        let head = entries.next().unwrap_or_default().to_owned();
        let own = |entry: &&str| !entry.starts_with(&id);
        std::iter::once(head).chain(entries.filter(own).map(ToOwned::to_owned)).collect()
    }

    proptest! {
        /// After each step the file says what is wanted, and of other entries not a byte is different.
        #[test]
        fn an_edit_is_what_is_read_next_and_touches_no_other_entry(
            steps in proptest::collection::vec(step(), 1..12),
        ) {
            let mut text = Zeroizing::new(written());
            for step in steps {
                let before = keyring(&text);
                let is_free = |key| !before.entries().any(|entry| entry.is_known_as(id(key)));
                let (edited, of) = match step {
                    Step::Add(new) if is_free(new) => {
                        (add(&text, &key(new, rules(&[Verb::Jobs]))).unwrap(), new)
                    }
                    Step::Remove(old) if before.entry(id(old)).is_some() => {
                        (remove(&text, id(old)).unwrap(), old)
                    }
                    Step::Allow(old, verbs, max_jobs) if before.entry(id(old)).is_some() => {
                        let rules = Rules { verbs: Verbs::from_bits(verbs), max_jobs, ..Rules::default() };
                        (allow(&text, id(old), &rules).unwrap(), old)
                    }
                    Step::Rotate(old, new)
                        if before.entry(id(old)).is_some() && is_free(new) =>
                    {
                        let waiting = begin(&text, id(old), id(new), &verifier(new), 5).unwrap();
                        (finish(&waiting, id(old), before.entry(id(old)).unwrap().owner).unwrap(), old)
                    }
                    _ => continue,
                };
                let after = keyring(&edited);
                match step {
                    Step::Add(new) => {
                        prop_assert!(after.entry(id(new)).unwrap().verbs.contains(Verb::Jobs));
                        prop_assert!(edited.starts_with(text.as_str()));
                    }
                    Step::Remove(old) => prop_assert!(after.entry(id(old)).is_none()),
                    Step::Allow(old, verbs, jobs) => {
                        let entry = after.entry(id(old)).unwrap();
                        prop_assert_eq!(entry.verbs.bits(), verbs);
                        prop_assert_eq!(entry.max_jobs, jobs.map(|jobs| jobs as usize));
                        prop_assert_eq!(others(&text, id(of)), others(&edited, id(of)));
                    }
                    Step::Rotate(old, new) => {
                        let (was, is) = (before.entry(id(old)).unwrap(), after.entry(id(new)).unwrap());
                        prop_assert_eq!((was.owner, was.rules(), &was.label), (is.owner, is.rules(), &is.label));
                        prop_assert_eq!(others(&text, id(old)), others(&edited, id(new)));
                    }
                }
                for entry in before.entries().filter(|entry| entry.id != id(of)) {
                    let other = after.entry(entry.id).unwrap();
                    prop_assert_eq!((entry.rules(), &entry.label), (other.rules(), &other.label));
                }
                text = edited;
            }
        }
    }
}
