//! What a decision needs to know of a request, for as long as the request runs.

use lariat_wire::protocol::connect::ConnectUnix;
use lariat_wire::protocol::exec::{Command, Run};
use lariat_wire::protocol::metadata::Metadata;
use lariat_wire::protocol::pull::Pull;
use lariat_wire::protocol::request::{ConnectRequest, FileRequest, JobRequest, Request};
use lariat_wire::protocol::tree::{Entry, PushTree, TreeOptions};

/// A request without its bulk, made as the user that it is served as: [`super::decide`] gives the same answer.
pub fn outline(request: &Request, user: &str) -> Request {
    let user = || Some(user.to_owned());
    match request {
        Request::Job(request) => Request::Job(match request {
            JobRequest::Run(run) => JobRequest::Run(Run {
                job: run.job,
                command: match &run.command {
                    Command::Argv(words) => Command::Argv(words.clone()),
                    Command::Shell(line) if run.command.words().is_some() => {
                        Command::Shell(line.clone())
                    }
                    Command::Shell(_) => Command::Shell(Vec::new()),
                    Command::Script { .. } => {
                        Command::Script { body: Vec::new(), args: Vec::new() }
                    }
                    Command::Login => Command::Login,
                },
                user: user(),
                cwd: run.cwd.clone(),
                env: run.env.first().cloned().into_iter().collect(),
                streams: run.streams.clone(),
                timeout_ms: run.timeout_ms,
                grace_ms: run.grace_ms,
            }),
            JobRequest::Attach(_)
            | JobRequest::List(_)
            | JobRequest::Logs(_)
            | JobRequest::Kill(_) => request.clone(),
        }),
        Request::Audit(_)
        | Request::Key(_)
        | Request::Rule(_)
        | Request::Certificate(_)
        | Request::Agent(_)
        | Request::Sight(_)
        | Request::Connect(
            ConnectRequest::Connect(_)
            | ConnectRequest::Park(_)
            | ConnectRequest::Listen(_)
            | ConnectRequest::Take(_),
        ) => request.clone(),
        Request::Connect(ConnectRequest::ConnectUnix(connect)) => {
            let connect = ConnectUnix { path: connect.path.clone(), user: user() };
            Request::Connect(ConnectRequest::ConnectUnix(connect))
        }
        Request::File(request) => Request::File(match request {
            FileRequest::Push(push) => {
                let mut push = push.clone();
                push.user = user();
                FileRequest::Push(push)
            }
            FileRequest::PushTree(push) => FileRequest::PushTree(PushTree {
                transfer: push.transfer,
                dest: push.dest.clone(),
                root: Entry {
                    name: Vec::new(),
                    metadata: Metadata::default(),
                    what: push.root.what.clone(),
                },
                options: options(&push.options),
                overrides: push.overrides.clone(),
                user: user(),
            }),
            FileRequest::Pull(pull) => FileRequest::Pull(Pull {
                transfer: pull.transfer,
                source: pull.source.clone(),
                sending: pull.sending,
                tree: pull.tree.as_ref().map(options),
                user: user(),
            }),
            FileRequest::Clean(clean) => {
                let mut clean = clean.clone();
                clean.user = user();
                FileRequest::Clean(clean)
            }
            FileRequest::Lane(_) => request.clone(),
        }),
    }
}

/// The options without their lists.
fn options(options: &TreeOptions) -> TreeOptions {
    let TreeOptions { rules: _, only: _, .. } = options;
    TreeOptions {
        delete: options.delete,
        max_delete: options.max_delete,
        dry_run: options.dry_run,
        checksum: options.checksum,
        hard_links: options.hard_links,
        preserve: options.preserve,
        seed: options.seed,
        ..TreeOptions::default()
    }
}
