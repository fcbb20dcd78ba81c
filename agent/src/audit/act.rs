//! What a request does, as its lines tell it.

use lariat_base::escape::escape;
use lariat_base::name::JobId;
use lariat_wire::protocol::audit::{AcceptAudit, AuditHead};
use lariat_wire::protocol::connect::Connect;
use lariat_wire::protocol::exec::{Command, Run, Streams};
use lariat_wire::protocol::key::KeyRotate;
use lariat_wire::protocol::listen::Listen;
use lariat_wire::protocol::request::{
    AgentRequest, AuditRequest, CertificateRequest, ConnectRequest, FileRequest, JobRequest,
    KeyRequest, Request, SightRequest,
};
use serde::Serialize;

use super::line::{Digested, MOST, text};
use super::rules::Given;
use crate::config::Argv;
use crate::user::User;

/// What a request does.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the line")]
pub struct Act {
    request: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    argv: Option<Vec<String>>,
    /// Of all words, each with a zero byte behind it, if some are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    argv_cut: Option<Digested>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<Digested>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    detached: bool,
    #[serde(skip_serializing_if = "is_false")]
    terminal: bool,
    #[serde(skip_serializing_if = "is_false")]
    delete: bool,
    #[serde(skip_serializing_if = "is_false")]
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_signal: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<Seen>,
    /// The new agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<Digested>,
    /// The key that is changed: its label, its id, or both; or the number of a note.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// The host that parks a connection, or whose parked connection comes before `to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    parked: Option<String>,
    /// What a note says.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// Where a connection through the host goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// Where the host listens for the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// What it may do from then on.
    #[serde(flatten)]
    rules: Option<Given>,
}

/// A line that a controller has seen.
#[derive(Clone, Debug, Serialize)]
struct Seen {
    chain: String,
    seq: u64,
    hash: String,
}

impl Seen {
    fn of(AuditHead { chain, seq, hash }: &AuditHead) -> Self {
        Self { chain: hex::encode(chain), seq: *seq, hash: hex::encode(hash) }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Act {
    /// What a request does; `None` if it only looks, or belongs to another that has lines.
    pub fn of(request: &Request, argv: Argv) -> Option<Self> {
        let mut act = match request {
            Request::Job(request) => match request {
                JobRequest::Run(run) => Self::run(run, argv),
                JobRequest::Attach(attach) => Self::job("attach", attach.job),
                JobRequest::Logs(logs) => Self::job("logs", logs.job),
                JobRequest::Kill(kill) => {
                    Self { send_signal: Some(kill.signal.number), ..Self::job("kill", kill.job) }
                }
                JobRequest::List(_) => return None,
            },
            // Looking is not written down.
            Request::Sight(SightRequest::WriteNote(note)) => {
                let note = Some(text(note.text.as_bytes()));
                return Some(Self { request: "note", note, ..Self::default() });
            }
            Request::Sight(SightRequest::ClearNotes(clear)) => {
                let target = clear.number.map(|number| number.to_string());
                return Some(Self { request: "clear notes", target, ..Self::default() });
            }
            Request::Rule(_)
            | Request::Sight(SightRequest::Status(_) | SightRequest::ReadNotes(_))
            | Request::Certificate(CertificateRequest::Renew(_)) => return None,
            Request::Audit(AuditRequest::ReadAudit(_)) => {
                Self { request: "read audit", ..Self::default() }
            }
            Request::Audit(AuditRequest::AcceptAudit(AcceptAudit { seen })) => {
                Self { request: "accept audit", seen: Some(Seen::of(seen)), ..Self::default() }
            }
            Request::File(request) => match request {
                FileRequest::Push(push) => Self {
                    dry_run: push.dry_run,
                    ..Self::file("push", &joined(&push.dest.path, &push.dest.name))
                },
                FileRequest::PushTree(push) => Self {
                    dry_run: push.options.dry_run,
                    delete: push.options.delete,
                    ..Self::file("push", &joined(&push.dest.path, &push.dest.name))
                },
                FileRequest::Pull(pull) => Self {
                    dry_run: pull.tree.as_ref().is_some_and(|options| options.dry_run),
                    ..Self::file("pull", &pull.source)
                },
                FileRequest::Clean(clean) => {
                    Self { dry_run: clean.dry_run, ..Self::file("clean", &clean.path) }
                }
                FileRequest::Lane(_) => return None,
            },
            Request::Connect(request) => match request {
                ConnectRequest::Connect(Connect { parked, host, port, .. }) => {
                    let to = (!host.is_empty()).then(|| text(format!("{host}:{port}").as_bytes()));
                    let parked = parked.as_ref().map(ToString::to_string);
                    Self { request: "connect", parked, to, ..Self::default() }
                }
                ConnectRequest::Park(park) => {
                    let parked = Some(park.host.to_string());
                    Self { request: "park", parked, ..Self::default() }
                }
                ConnectRequest::ConnectUnix(connect) => Self::file("connect", &connect.path),
                ConnectRequest::Listen(Listen { address, port }) => {
                    let at = text(format!("{address}:{port}").as_bytes());
                    Self { request: "listen", at: Some(at), ..Self::default() }
                }
                // Where it arrived has lines.
                ConnectRequest::Take(_) => return None,
            },
            Request::Key(request) => return Self::key(request),
            Request::Certificate(CertificateRequest::Install(_)) => {
                return Some(Self { request: "install certificate", ..Self::default() });
            }
            Request::Agent(request) => {
                let (request, of) = match request {
                    AgentRequest::Upgrade(upgrade) => {
                        ("upgrade", Some(Digested::new(upgrade.size, upgrade.sha256)))
                    }
                    AgentRequest::SendAgent(_) => ("send agent", None),
                    // The verdict has a line of its own.
                    AgentRequest::Confirm(_) | AgentRequest::Examine(_) => return None,
                };
                return Some(Self { request, program: of, ..Self::default() });
            }
        };
        act.user = request.user().map(|user| text(user.as_bytes()));
        Some(act)
    }

    fn key(request: &KeyRequest) -> Option<Self> {
        let act = |request, target: &str| Self {
            request,
            target: Some(text(target.as_bytes())),
            ..Self::default()
        };
        Some(match request {
            KeyRequest::KeyList(_) => return None,
            KeyRequest::KeyAdd(add) => Self {
                rules: Some(Given::of(&add.rules)),
                dry_run: add.dry_run,
                ..act("add key", &format!("{} {}", add.label, add.id))
            },
            KeyRequest::KeyAllow(allow) => Self {
                rules: Some(Given::of(&allow.rules)),
                dry_run: allow.dry_run,
                ..act("change rules", &allow.key)
            },
            KeyRequest::KeyRevoke(revoke) => act("revoke key", &revoke.key),
            KeyRequest::KeyRotate(KeyRotate::Begin { id, .. }) => {
                act("begin rotation", &id.to_string())
            }
            KeyRequest::KeyRotate(KeyRotate::Finish) => {
                Self { request: "finish rotation", ..Self::default() }
            }
        })
    }

    fn job(request: &'static str, job: JobId) -> Self {
        Self { request, job: Some(job.to_string()), ..Self::default() }
    }

    fn file(request: &'static str, path: &[u8]) -> Self {
        Self { request, path: Some(text(path)), ..Self::default() }
    }

    fn run(run: &Run, how: Argv) -> Self {
        const SHELL: [&[u8]; 2] = [b"/bin/sh", b"-c"];
        let (request, words, script) = match &run.command {
            Command::Shell(line) => ("run", [&SHELL[..], &[line]].concat(), None),
            Command::Argv(words) => ("run", words.iter().map(Vec::as_slice).collect(), None),
            Command::Script { body, args } => {
                ("run", args.iter().map(Vec::as_slice).collect(), Some(Digested::of(body)))
            }
            Command::Login => ("shell", Vec::new(), None),
        };
        let (argv, argv_cut) = words_of(&words, how);
        Self {
            argv: (!argv.is_empty()).then_some(argv),
            argv_cut,
            script,
            env: names(run.env.iter().map(|(name, _)| name.as_slice())),
            cwd: run.cwd.as_deref().map(text),
            detached: run.streams == Streams::Detached,
            terminal: matches!(run.streams, Streams::Terminal { .. }),
            ..Self::job(request, run.job)
        }
    }

    /// The command that is run has these words, and no shell.
    pub fn executes(&mut self, words: &[Vec<u8>], how: Argv) {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let (argv, argv_cut) = words_of(&words, how);
        (self.argv, self.argv_cut) = (Some(argv), argv_cut);
    }

    /// The request is served as this user, by this rule: makes the path absolute, too.
    pub fn served_as(&mut self, user: &User, rule: &str) {
        self.user = Some(text(&user.name));
        self.rule = Some(text(rule.as_bytes()));
        if let Some(path) = self.path.as_mut().filter(|path| !path.starts_with('/')) {
            *path = format!("{}/{path}", escape(&user.home).trim_end_matches('/'));
        }
    }
}

/// The path of a destination, with the name that goes into it if the path says that it is a directory.
fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.ends_with(b"/") { [path, name].concat() } else { path.to_vec() }
}

/// The words of a command, up to [`MOST`] bytes or the first one, and what all of them are if some are left out.
fn words_of(words: &[&[u8]], how: Argv) -> (Vec<String>, Option<Digested>) {
    let kept = match how {
        Argv::Full => words,
        // A sum would let somebody confirm a guess at what is left out.
        Argv::Program => return (words.first().map(|word| text(word)).into_iter().collect(), None),
    };
    let mut left = MOST;
    let fits = kept.iter().take_while(|word| {
        let fits = word.len() < left;
        left = left.saturating_sub(word.len() + 1);
        fits
    });
    let mut argv: Vec<String> = fits.map(|word| text(word)).collect();
    if argv.len() == words.len() {
        return (argv, None);
    }
    // The beginning of the first word that does not fit.
    let used: usize = words[..argv.len()].iter().map(|word| word.len() + 1).sum();
    argv.push(text(
        &words[argv.len()][..MOST.saturating_sub(used + 1).min(words[argv.len()].len())],
    ));
    let all: Vec<u8> = words.iter().flat_map(|word| word.iter().chain(&[0])).copied().collect();
    (argv, Some(Digested::of(&all)))
}

/// Names of variables, as many as fit.
fn names<'a>(names: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut left = MOST;
    let mut kept = Vec::new();
    for name in names {
        left = left.saturating_sub(name.len() + 1);
        if left == 0 {
            kept.push("...".to_owned());
            break;
        }
        kept.push(text(name));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: Command) -> Run {
        let env = vec![(b"TOKEN".to_vec(), b"secret".to_vec())];
        Run {
            job: JobId([0x1d; 16]),
            command,
            user: Some("www".to_owned()),
            cwd: None,
            env,
            streams: Streams::Followed { stdin: true },
            timeout_ms: None,
            grace_ms: 0,
        }
    }

    fn json(command: Command, argv: Argv) -> String {
        let act = Act::of(&Request::Job(JobRequest::Run(run(command))), argv).unwrap();
        serde_json::to_string(&act).unwrap()
    }

    #[test]
    fn a_command_is_told_without_what_may_be_secret() {
        let head = r#"{"request":"run","job":"1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d","user":"www","#;
        let shell = || Command::Shell(b"echo \xff > a".to_vec());
        assert_eq!(
            json(shell(), Argv::Full),
            format!(r#"{head}"argv":["/bin/sh","-c","echo \\xff > a"],"env":["TOKEN"]}}"#)
        );
        assert_eq!(
            json(shell(), Argv::Program),
            format!(r#"{head}"argv":["/bin/sh"],"env":["TOKEN"]}}"#)
        );
        let script = Command::Script { body: b"abc".to_vec(), args: vec![b"x".to_vec()] };
        let told = json(script, Argv::Full);
        assert!(told.contains(r#""argv":["x"],"script":{"bytes":3,"sha256":"ba7816bf"#), "{told}");
    }

    #[test]
    fn a_long_command_is_cut_with_its_length_and_its_sum() {
        let word = |len: usize| vec![b'a'; len];
        for words in [
            vec![word(3), word(5000)],
            vec![word(MOST)],
            vec![word(9); 1000],
            vec![word(MOST - 4), word(0), word(0), word(0), word(0)],
        ] {
            let parts: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let (argv, cut) = words_of(&parts, Argv::Full);
            let kept: usize = argv.iter().map(|word| word.len() + 1).sum();
            assert!(kept <= MOST + 1 && argv.len() <= words.len(), "{kept}");
            let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
            assert_eq!(
                cut.map(|cut| serde_json::to_value(cut).unwrap()["bytes"].clone()),
                Some(bytes.into())
            );
        }
        let fits = word(MOST - 1);
        assert!(words_of(&[&fits], Argv::Full).1.is_none());
        assert!(words_of(&[], Argv::Full).0.is_empty());
    }
}
