//! What a key may do, as a line tells it. What an entry does not have is absent.

use lariat_base::date;
use lariat_wire::protocol::key::Rules;
use lariat_wire::protocol::verb::{Verb, Verbs};
use serde::Serialize;

use super::line::{Digested, text};

/// Most bytes of the lists of one key together.
const MOST: usize = 16 * 1024;

/// A key's rules, by the names that they have in a keyring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Given {
    verbs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    push: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commands: Option<Vec<Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdin: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_sessions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_jobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    park: Option<String>,
    /// Of all these fields as a JSON object, if the ends of lists are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    rules_cut: Option<Digested>,
}

impl Given {
    /// The rules of a key. Who asks may have sent anything, so lists that are too long are cut.
    pub(super) fn of(rules: &Rules) -> Self {
        let whole = Self::within(rules, usize::MAX);
        let cut = Self::within(rules, MOST);
        if whole == cut {
            return cut;
        }
        let all = serde_json::to_vec(&whole).unwrap_or_default();
        Self { rules_cut: Some(Digested::of(&all)), ..cut }
    }

    /// These verbs, and nothing of the rules.
    pub(super) fn verbs(verbs: Verbs) -> Self {
        Self { verbs: verbs.iter().map(Verb::as_str).collect(), ..Self::default() }
    }

    /// The rules, with the items of lists that fit into so many bytes.
    fn within(rules: &Rules, most: usize) -> Self {
        let mut left = most;
        let mut take = |len: usize| {
            let fits = len < left;
            left = if fits { left - len } else { 0 };
            fits
        };
        let mut list = |items: &Option<Vec<String>>| {
            let texts = |items: &Vec<String>| {
                let all = items.iter().map(|item| text(item.as_bytes()));
                all.take_while(|item| take(item.len() + 1)).collect::<Vec<_>>()
            };
            items.as_ref().map(texts)
        };
        let [users, networks] = [&rules.users, &rules.networks].map(&mut list);
        let [push, pull] = [&rules.push, &rules.pull].map(&mut list);
        let [connect, listen] = [&rules.connect, &rules.listen].map(&mut list);
        let pattern = |words: &Vec<String>| -> Vec<String> {
            words.iter().map(|word| text(word.as_bytes())).collect()
        };
        let patterns = |patterns: &Vec<Vec<String>>| {
            let all = patterns.iter().map(pattern);
            let len = |words: &Vec<String>| words.iter().map(|word| word.len() + 1).sum::<usize>();
            all.take_while(|words| take(len(words) + 1)).collect()
        };
        let commands = rules.commands.as_ref().map(patterns);
        Self {
            users,
            networks,
            not_before: rules.not_before.map(moment),
            not_after: rules.not_after.map(moment),
            push,
            pull,
            commands,
            stdin: rules.stdin.then_some(true),
            connect,
            listen,
            max_sessions: rules.max_sessions,
            max_jobs: rules.max_jobs,
            park: rules.park.as_ref().map(ToString::to_string),
            ..Self::verbs(rules.verbs)
        }
    }
}

/// A moment as RFC 3339; one that has no such form is refused as a mistake, and told as it was sent.
fn moment(seconds: u64) -> String {
    date::format(seconds).unwrap_or_else(|| seconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_the_names_and_values_of_a_keyring() {
        let list = |one: &str| Some(vec![one.to_owned()]);
        let rules = Rules {
            verbs: [Verb::Run, Verb::Push].into_iter().collect(),
            users: list("www"),
            networks: list("10.0.0.0/8"),
            not_before: Some(0),
            not_after: Some(1_900_000_000),
            push: list("/srv/in"),
            pull: Some(Vec::new()),
            commands: Some(vec![vec!["/usr/bin/id".to_owned(), "a\u{1b}*".to_owned()]]),
            stdin: true,
            connect: list("db:5432"),
            listen: list("127.0.0.1:80"),
            max_sessions: Some(2),
            max_jobs: Some(1),
            park: Some("web3".parse().unwrap()),
        };
        let told = serde_json::to_string(&Given::of(&rules)).unwrap();
        let wanted = concat!(
            r#"{"verbs":["run","push"],"users":["www"],"networks":["10.0.0.0/8"],"#,
            r#""not_before":"1970-01-01T00:00:00Z","not_after":"2030-03-17T17:46:40Z","#,
            r#""push":["/srv/in"],"pull":[],"commands":[["/usr/bin/id","a\\x1b*"]],"#,
            r#""stdin":true,"connect":["db:5432"],"listen":["127.0.0.1:80"],"#,
            r#""max_sessions":2,"max_jobs":1,"park":"web3"}"#
        );
        assert_eq!(told, wanted);
        let bare = Rules { verbs: rules.verbs, ..Rules::default() };
        let told = serde_json::to_string(&Given::of(&bare)).unwrap();
        assert_eq!(told, r#"{"verbs":["run","push"]}"#);
    }

    #[test]
    fn what_anybody_may_send_is_cut_with_its_length_and_its_sum() {
        let long = |count| Some(vec!["\u{1}".repeat(1000); count]);
        let rules = Rules {
            users: long(200),
            push: long(200),
            commands: Some(vec![vec!["x".repeat(4000); 1000]; 10]),
            not_before: Some(u64::MAX),
            ..Rules::default()
        };
        let told = serde_json::to_string(&Given::of(&rules)).unwrap();
        assert!(told.len() < 3 * MOST, "{}", told.len());
        assert!(told.contains(r#""not_before":"18446744073709551615""#), "{told}");
        assert!(told.contains(r#""push":[],"commands":[],"rules_cut":{"bytes":"#), "{told}");
        let fits = Rules { users: long(3), ..Rules::default() };
        assert!(Given::of(&fits).rules_cut.is_none());
    }
}
