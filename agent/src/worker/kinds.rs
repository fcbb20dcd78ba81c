//! Which kinds of frame a worker may send to the controller, by request.

use lariat_wire::protocol::Kind;
use lariat_wire::protocol::request::FileRequest;

use super::request::WorkerRequest;

/// Whether a worker that serves this request may send a frame of this kind. Any other kind ends the worker.
pub(super) fn may_say(request: &WorkerRequest, kind: Kind) -> bool {
    let request = match request {
        WorkerRequest::File(request) => request,
        WorkerRequest::Look(_) => return kind == Kind::Failed,
        WorkerRequest::Socket(_) => return as_socket(kind),
    };
    match request {
        FileRequest::Push(push) => as_receiver(kind) || (push.dry_run && kind == Kind::Changes),
        FileRequest::PushTree(_) => as_receiver(kind) || as_tree_receiver(kind),
        FileRequest::Pull(_) => as_sender(kind),
        // It has no transfer that a lane could join.
        FileRequest::Lane(_) => kind == Kind::Failed,
        FileRequest::Clean(_) => matches!(kind, Kind::Failed | Kind::Missed | Kind::Cleaned),
    }
}

fn as_socket(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Failed | Kind::Connected | Kind::PipeBytes | Kind::PipeTaken | Kind::PipeEnd
    )
}

fn as_receiver(kind: Kind) -> bool {
    matches!(kind, Kind::Failed | Kind::Have | Kind::Hashes | Kind::Pieces | Kind::Done)
}

fn as_tree_receiver(kind: Kind) -> bool {
    matches!(kind, Kind::Answers | Kind::Missed | Kind::Changes | Kind::Settled)
}

fn as_sender(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Failed
            | Kind::Offer
            | Kind::Chunk
            | Kind::Complete
            | Kind::Copies
            | Kind::Literal
            | Kind::Root
            | Kind::Entries
            | Kind::Pack
            | Kind::Begin
            | Kind::Missed
            | Kind::End
            | Kind::Settled
    )
}

#[cfg(test)]
mod tests {
    use lariat_base::name::TransferId;
    use lariat_wire::protocol::pull::Pull;
    use lariat_wire::protocol::transfer::Sending;

    use super::*;

    #[test]
    fn a_worker_says_nothing_that_a_session_or_a_job_would() {
        let sending = Sending { compress: false, rate: None, hash: false };
        let pull = Pull {
            transfer: TransferId([0; 16]),
            source: b"/a".to_vec(),
            sending,
            tree: None,
            user: None,
        };
        let pull = WorkerRequest::File(FileRequest::Pull(pull));
        let said: Vec<Kind> =
            Kind::ALL.iter().copied().filter(|&kind| may_say(&pull, kind)).collect();
        for never in
            [Kind::Goodbye, Kind::Welcome, Kind::Exit, Kind::Stdout, Kind::Have, Kind::Done]
        {
            assert!(!said.contains(&never), "{never:?}");
        }
        let any = |kind| {
            as_socket(kind) || as_receiver(kind) || as_tree_receiver(kind) || as_sender(kind)
        };
        for &kind in Kind::ALL.iter().filter(|&&kind| any(kind)) {
            assert!(!kind.is_hello() && !kind.is_request(), "{kind:?}");
        }
    }
}
