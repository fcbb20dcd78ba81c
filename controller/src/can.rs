//! Asks hosts what a key may do: the same requests that a verb would make, which are not made.

use std::cell::Cell;
use std::time::Duration;

use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_client::{AskError, Broken, HostHandle, Session};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::can::{Asked, Can, Permissions, Verdict};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::request::Request;
use serde::Serialize;

use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, HostContext, HostWork, within};
use crate::host_keys;
use crate::output::json;
use crate::status::SOME_FAILED;
use crate::target::Chosen;

/// What is asked of a host.
pub(crate) struct Question {
    /// What it is called, if it is one of several.
    pub(crate) name: Option<String>,
    /// The request; all that the key may do, if there is none.
    pub(crate) request: Option<Request>,
}

/// The questions for a host.
type Questions = dyn Fn(&Chosen) -> Result<Vec<Question>, CliError> + Send + Sync;

/// Asks hosts, and tells what they answer.
pub(crate) struct Asking {
    /// The key's label or id; this controller's own key if there is none.
    pub(crate) key: Option<String>,
    pub(crate) questions: Box<Questions>,
    pub(crate) limit: Option<Duration>,
    pub(crate) json: bool,
}

/// What a host answers to a question.
pub(crate) struct Answered {
    name: Option<String>,
    answer: Answer,
}

enum Answer {
    Verdict(Verdict),
    Permissions(Permissions),
}

impl HostWork for Asking {
    type Outcome = Vec<Answered>;
    type Total = ();

    async fn on(&self, host: HostContext<'_>) -> Result<Vec<Answered>, Failed> {
        let asked = async {
            let (mut session, mut answers) = (None, Vec::new());
            for Question { name, request } in (self.questions)(host.chosen)? {
                let can = Can {
                    key: self.key.clone(),
                    request: request.as_ref().map(frame).transpose()?,
                };
                let sent = Cell::default();
                let asked = host.handle.ask_on(session, &can, &sent, receive).await;
                let asked = match (asked, &self.key) {
                    (Err(error), Some(key)) if host_keys::is_unknown(&error) => {
                        return Err(unknown(key, &host.handle, error).await);
                    }
                    (asked, _) => asked,
                };
                let (next, answer) = asked?;
                session = Some(next);
                answers.push(Answered { name, answer });
            }
            if let Some(session) = session {
                session.leave().await;
            }
            Ok(answers)
        };
        within(self.limit, &host.handle, Box::pin(asked)).await
    }

    fn report(
        &self,
        (): &mut (),
        host: &HostName,
        outcome: Result<Vec<Answered>, Failed>,
    ) -> (Vec<u8>, Ended) {
        let answers = match outcome {
            Ok(answers) => answers,
            Err(failed) => {
                return self.failed(self.json, host, CliError::from(failed).during("can"));
            }
        };
        let mut ended = Ended::ok();
        let mut told = Vec::new();
        for answered in &answers {
            if answered.is_no() {
                let said = Some("denied".to_owned());
                ended = Ended { end: End::Failed, said, status: Some(SOME_FAILED), ..ended };
            }
            ended.notes.extend(answered.condition(host));
            let line = if self.json {
                answered.object(host)
            } else {
                Ok(answered.text(host).into_bytes())
            };
            match line {
                Ok(line) => told.extend(line),
                Err(error) => return (told, Ended::failed(End::Errored, error)),
            }
        }
        (told, ended)
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::failure(host, error, Added::default())
    }
}

/// The error for a key that a host does not have, with those that it has if this key may ask for them.
async fn unknown(key: &str, host: &HostHandle, error: AskError) -> Failed {
    let Ok(keys) = host_keys::list(host).await else { return error.into() };
    let unknown = keys.unknown(key, host);
    keys.session.leave().await;
    unknown.into()
}

/// The frame of a request, as it is asked about.
pub(crate) fn frame(request: &Request) -> Result<Asked, CliError> {
    request.check()?;
    let (kind, payload) = request.encode().map_err(|error| CliError::new(error.to_string()))?;
    Ok(Asked { kind: kind as u16, payload })
}

async fn receive(Session { link, .. }: &mut Session) -> Result<Answer, Broken> {
    let frame = link.next().await?.ok_or(LinkError::Cut)?;
    match frame.kind {
        Kind::Verdict => Ok(Answer::Verdict(link.reader.message()?)),
        Kind::Permissions => Ok(Answer::Permissions(link.reader.message()?)),
        Kind::Failed => Err(Broken::Failed(link.reader.message::<Failure>()?)),
        other => Err(LinkError::Unexpected(other).into()),
    }
}

/// The fields that the verb adds to a host's object.
#[derive(Default, Serialize)]
struct Added<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a str>,
    allowed: Option<bool>,
    rule: Option<&'a str>,
    why: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<&'a [String]>,
}

impl Answered {
    fn is_no(&self) -> bool {
        matches!(&self.answer, Answer::Verdict(verdict) if !verdict.allowed)
    }

    /// What the answer holds for.
    fn condition(&self, host: &HostName) -> Option<String> {
        match &self.answer {
            Answer::Verdict(Verdict { allowed: true, why, .. }) if !why.is_empty() => {
                Some(format!("{host}: {}", escape(why.as_bytes())))
            }
            Answer::Verdict(_) | Answer::Permissions(_) => None,
        }
    }

    fn object(&self, host: &HostName) -> Result<Vec<u8>, CliError> {
        let added = Added { request: self.name.as_deref(), ..Added::default() };
        let (end, added) = match &self.answer {
            Answer::Verdict(Verdict { allowed, rule, why }) => {
                let end = if *allowed { End::Ok } else { End::Failed };
                let why = (!why.is_empty()).then_some(why.as_str());
                let (allowed, rule) = (Some(*allowed), Some(rule.as_str()));
                (end, Added { allowed, rule, why, ..added })
            }
            Answer::Permissions(Permissions { lines }) => {
                (End::Ok, Added { rules: Some(lines), ..added })
            }
        };
        json::result(host, end, None, added)
    }

    fn text(&self, host: &HostName) -> String {
        let name = self.name.as_ref().map(|name| format!("{}: ", escape(name.as_bytes())));
        let name = name.unwrap_or_default();
        match &self.answer {
            Answer::Verdict(Verdict { allowed: true, rule, .. }) => {
                format!("{host}: {name}allowed by {}\n", escape(rule.as_bytes()))
            }
            Answer::Verdict(Verdict { rule, why, .. }) => {
                let (rule, why) = (escape(rule.as_bytes()), escape(why.as_bytes()));
                format!("{host}: {name}denied: {rule}: {why}\n")
            }
            Answer::Permissions(Permissions { lines }) => {
                let line = |line: &String| format!("{host}: {}\n", escape(line.as_bytes()));
                lines.iter().map(line).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_line_for_people_and_an_object_for_programs() {
        let host = "web1".parse().unwrap();
        let verdict = |allowed, rule: &str, why: &str, name: Option<&str>| {
            let (rule, why) = (rule.to_owned(), why.to_owned());
            let answer = Answer::Verdict(Verdict { allowed, rule, why });
            Answered { name: name.map(ToOwned::to_owned), answer }
        };
        let yes = verdict(true, "keyring.toml:14", "", None);
        let no = verdict(false, "commands", "nearest is keyring.toml:15, word 3 differs", None);
        let line = |answer: &Answered| String::from_utf8(answer.object(&host).unwrap()).unwrap();
        assert_eq!(yes.text(&host), "web1: allowed by keyring.toml:14\n");
        let text = "web1: denied: commands: nearest is keyring.toml:15, word 3 differs\n";
        assert_eq!(no.text(&host), text);
        assert!(no.is_no() && !yes.is_no());
        let there = verdict(true, "keyring.toml:14", "only from 192.0.2.0/24", None);
        assert_eq!(there.text(&host), yes.text(&host));
        assert_eq!(there.condition(&host).as_deref(), Some("web1: only from 192.0.2.0/24"));
        assert_eq!((yes.condition(&host), no.condition(&host)), (None, None));
        insta::assert_snapshot!(line(&yes).trim(), @r#"{"host":"web1","ok":true,"kind":"ok","error":null,"allowed":true,"rule":"keyring.toml:14","why":null}"#);
        insta::assert_snapshot!(line(&no).trim(), @r#"{"host":"web1","ok":false,"kind":"failed","error":null,"allowed":false,"rule":"commands","why":"nearest is keyring.toml:15, word 3 differs"}"#);
        let named = verdict(true, "keyring.toml:6", "", Some("ls -l"));
        assert_eq!(named.text(&host), "web1: ls -l: allowed by keyring.toml:6\n");
        let rules = Permissions { lines: vec!["verbs: run (keyring.toml:6)".to_owned()] };
        let rules = Answered { name: None, answer: Answer::Permissions(rules) };
        assert_eq!(rules.text(&host), "web1: verbs: run (keyring.toml:6)\n");
    }
}
