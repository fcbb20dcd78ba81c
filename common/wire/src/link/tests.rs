use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, duplex};

use super::*;
use crate::frame::FrameError;
use crate::limits::{MAX_FRAME, MAX_MESSAGE};
use crate::protocol::audit::AuditHead;
use crate::protocol::exec::{Ack, Started};
use crate::protocol::job::List;
use crate::protocol::session::{Finished, Ping, Pong};

/// Buffers of 8 bytes: every frame arrives in pieces.
fn pair() -> (Link<tokio::io::DuplexStream>, Link<tokio::io::DuplexStream>) {
    let (a, b) = duplex(8);
    (Link::new(a), Link::new(b))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    runtime().block_on(work)
}

async fn raw(bytes: &[u8]) -> Result<Option<Frame>, LinkError> {
    let (mut peer, ours) = duplex(1 << 22);
    peer.write_all(bytes).await.unwrap();
    drop(peer);
    Link::new(ours).next().await
}

#[test]
fn messages_and_bulk_arrive_in_order() {
    block_on(async {
        let (mut a, mut b) = pair();
        let body: Vec<u8> = (0..100_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        let sending = async {
            a.outbox().post(&Started { pid: 7 }).unwrap();
            a.writer.bulk(Kind::Stdout, &[1, 2], &body).await.unwrap();
            a.writer.bulk(Kind::Stderr, &[], b"small").await.unwrap();
            a.send(&Ack { stdout: 1, stderr: 2 }).await.unwrap();
            a.writer.finish().await.unwrap();
        };
        let receiving = async {
            assert_eq!(b.expect::<Started>().await.unwrap(), Started { pid: 7 });
            let frame = b.next().await.unwrap().unwrap();
            assert_eq!((frame.kind, frame.len), (Kind::Stdout, 100_002));
            assert_eq!(b.reader.bulk_array::<2>().await.unwrap(), [1, 2]);
            let mut got = vec![0; 100_000];
            b.reader.bulk(&mut got).await.unwrap();
            assert_eq!(got, body);
            // The rest of a bulk frame is skipped.
            assert_eq!(b.next().await.unwrap().unwrap().kind, Kind::Stderr);
            assert_eq!(b.expect::<Ack>().await.unwrap(), Ack { stdout: 1, stderr: 2 });
            assert_eq!(b.next().await.unwrap(), None);
        };
        tokio::join!(sending, receiving);
    });
}

#[test]
fn what_came_of_a_bulk_frame_before_a_cut_is_had() {
    block_on(async {
        let (mut a, ours) = duplex(1 << 20);
        let mut frame = vec![100, 0, 0, 0, 0x22, 0, 1, 0];
        frame.extend_from_slice(&[7; 60]);
        a.write_all(&frame).await.unwrap();
        drop(a);
        let mut b = Link::new(ours);
        b.next().await.unwrap().unwrap();
        let mut buffer = [0; 40];
        assert_eq!(b.reader.bulk_arrived(&mut buffer).await.unwrap(), 40);
        assert_eq!(b.reader.bulk_arrived(&mut buffer).await.unwrap(), 20);
        assert_eq!((b.reader.bulk_left(), buffer[19]), (40, 7));
        assert!(matches!(b.reader.bulk_arrived(&mut buffer).await, Err(LinkError::Cut)));
    });
}

#[test]
fn a_cancelled_wait_loses_nothing() {
    block_on(async {
        let (mut a, mut b) = pair();
        let sending = async {
            for stdout in 0..50 {
                a.send(&Ack { stdout, stderr: 0 }).await.unwrap();
            }
        };
        let receiving = async {
            let mut stdout = 0;
            while stdout < 50 {
                tokio::select! {
                    biased;
                    frame = b.next() => {
                        assert_eq!(frame.unwrap().unwrap().kind, Kind::Ack);
                        assert_eq!(b.reader.message::<Ack>().unwrap().stdout, stdout);
                        stdout += 1;
                    }
                    () = tokio::task::yield_now() => {}
                }
            }
        };
        tokio::join!(sending, receiving);
    });
}

#[test]
fn pings_are_answered_while_both_ends_only_wait() {
    block_on(async {
        let (mut a, mut b) = pair();
        a.outbox().post(&Ping { nonce: 9 }).unwrap();
        tokio::select! {
            _ = b.next() => panic!("a ping is no frame for the session"),
            frame = a.next() => assert_eq!(frame.unwrap().unwrap().kind, Kind::Pong),
        }
    });
}

#[test]
fn a_silent_peer_is_asked_then_given_up_and_a_living_one_never() {
    block_on(async {
        let (mut a, silent) = {
            let (a, b) = duplex(1 << 16);
            (Link::new(a), b)
        };
        let began = tokio::time::Instant::now();
        assert!(matches!(a.next().await, Err(LinkError::Silent)));
        assert!(began.elapsed() >= crate::limits::DEAD_AFTER);
        drop(silent);

        let (mut a, mut b) = pair();
        let hour = tokio::time::sleep(Duration::from_secs(3600));
        tokio::select! {
            () = hour => {}
            frame = a.next() => panic!("what keeps a session alive is for nobody: {frame:?}"),
            frame = b.next() => panic!("what keeps a session alive is for nobody: {frame:?}"),
        }
    });
}

#[test]
fn an_end_inside_a_frame_is_a_cut_and_between_frames_is_not() {
    let whole = message_frame(1, &Ack { stdout: 1, stderr: 2 }).unwrap();
    for len in 1..whole.len() {
        assert!(matches!(block_on(raw(&whole[..len])), Err(LinkError::Cut)), "{len}");
    }
    assert!(block_on(raw(&whole)).unwrap().is_some());
    assert!(block_on(raw(&[])).unwrap().is_none());
}

#[test]
fn lengths_over_the_limits_and_greetings_are_refused() {
    use crate::frame::Header;
    let header =
        |kind: Kind, len| Header { kind, request: u16::from(!kind.is_session()), len }.encode();
    let refused = |bytes: &[u8]| block_on(raw(bytes)).unwrap_err();
    assert!(matches!(refused(&header(Kind::Stdout, MAX_FRAME + 1)), LinkError::Frame(_)));
    assert!(matches!(refused(&header(Kind::Ack, MAX_MESSAGE + 1)), LinkError::Misbehaved(_)));
    assert!(matches!(refused(&header(Kind::Login, 0)), LinkError::Unexpected(Kind::Login)));
}

#[test]
fn a_peer_that_makes_us_answer_and_never_reads_is_cut_off() {
    block_on(async {
        let (mut peer, ours) = duplex(64);
        let mut link = Link::new(ours);
        let ping = message_frame(1, &Ping { nonce: 0 }).unwrap();
        let flood = async { while peer.write_all(&ping).await.is_ok() {} };
        tokio::select! {
            () = flood => panic!("the link still stands"),
            end = link.next() => assert!(matches!(end, Err(LinkError::Misbehaved(_)))),
        }
    });
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = block_on(raw(&bytes));
    }
}

#[test]
fn what_is_left_of_a_request_is_dropped_by_its_number() {
    block_on(async {
        let (mut controller, mut agent) = pair();
        let asking = async {
            // The first request is given up in the middle of a frame.
            let body = vec![7; 50_000];
            let sent = tokio::time::timeout(
                Duration::from_millis(1),
                controller.writer.bulk(Kind::Stdin, &[], &body),
            );
            assert!(sent.await.is_err(), "nobody reads yet");
            controller.outbox().post(&Ack::default()).unwrap();
            controller.ask(&list("a")).await.unwrap();
            controller.ask(&list("b")).await.unwrap();
            controller.writer.finish().await.unwrap();
        };
        let serving = async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            for prefix in ["a", "b"] {
                let frame = agent.next_request().await.unwrap().unwrap();
                assert_eq!(frame.unwrap().kind, Kind::List);
                assert_eq!(agent.reader.message::<List>().unwrap(), list(prefix));
            }
            assert_eq!(agent.outbox().request(), 3);
            assert_eq!(agent.next_request().await.unwrap(), None);
        };
        tokio::join!(asking, serving);
    });
}

#[test]
fn a_request_ends_when_its_peer_goes_on_and_nothing_of_the_next_is_lost() {
    block_on(async {
        let (mut controller, mut agent) = pair();
        let told = Arc::new(AtomicU64::new(0));
        let newest = Arc::clone(&told);
        controller.reader.on_audit(Box::new(move |head| newest.store(head.seq, Ordering::Relaxed)));
        let asking = async {
            controller.ask(&list("a")).await.unwrap();
            assert_eq!(controller.next().await.unwrap(), None, "the agent has finished");
            assert_eq!(told.load(Ordering::Relaxed), 9);
            controller.send(&Ping { nonce: 1 }).await.unwrap();
            assert_eq!(controller.expect::<Pong>().await.unwrap(), Pong { nonce: 1 });
        };
        let serving = async {
            assert_eq!(agent.next().await.unwrap(), None, "of the first request no more comes");
            assert_eq!(agent.next().await.unwrap(), None);
            assert_eq!(agent.next_request().await.unwrap().unwrap().unwrap().kind, Kind::List);
            let audit = AuditHead { seq: 9, ..AuditHead::default() };
            agent.send(&Finished { audit }).await.unwrap();
            assert!(agent.next().await.unwrap().is_none());
        };
        tokio::select! {
            () = asking => {}
            () = serving => panic!("the controller is still there"),
        }
    });
}

#[test]
fn a_frame_of_a_request_that_was_not_opened_is_refused() {
    let early = message_frame(2, &Ack::default()).unwrap();
    assert!(matches!(block_on(raw(&early)), Err(LinkError::Unexpected(Kind::Ack))));
    let late = message_frame(9, &Ack::default()).unwrap();
    assert_eq!(block_on(raw(&late)).unwrap(), None);
}

fn list(prefix: &str) -> List {
    List { prefix: prefix.to_owned(), all_keys: false }
}

/// A frame of a kind that no version has.
fn unknown(request: u16, len: u32) -> Vec<u8> {
    let [a, b, c, d] = len.to_le_bytes();
    let [low, high] = request.to_le_bytes();
    let header = [a, b, c, d, 0xfe, 0xff, low, high];
    header.into_iter().chain((0..len).map(|_| 7)).collect()
}

#[test]
fn a_request_of_an_unknown_kind_is_told_and_what_belongs_to_it_is_dropped() {
    block_on(async {
        let (mut peer, ours) = duplex(1 << 20);
        let mut link = Link::with_memory(ours, 0, Memory::default());
        let frames = [
            unknown(1, 100_000),
            unknown(1, 0),
            message_frame(1, &Ack::default()).unwrap(),
            message_frame(2, &list("a")).unwrap(),
            // Of the first request, which is over.
            unknown(1, 9),
            unknown(3, 9),
            message_frame(4, &list("b")).unwrap(),
        ];
        peer.write_all(&frames.concat()).await.unwrap();
        drop(peer);
        let unknown = Err(UnknownKind(0xfffe));
        assert_eq!(link.next_request().await.unwrap(), Some(unknown));
        assert_eq!(link.next_request().await.unwrap().unwrap().unwrap().kind, Kind::List);
        assert_eq!(link.reader.message::<List>().unwrap(), list("a"));
        // While the second one is served.
        assert_eq!(link.next().await.unwrap(), None);
        assert_eq!(link.next_request().await.unwrap(), Some(unknown));
        assert_eq!(link.next_request().await.unwrap().unwrap().unwrap().kind, Kind::List);
        assert_eq!(link.reader.message::<List>().unwrap(), list("b"));
        assert_eq!(link.next_request().await.unwrap(), None);
    });
    // Of the session itself, or of the request that is being served.
    for request in [0, 1] {
        let refused = block_on(raw(&unknown(request, 0))).unwrap_err();
        assert!(matches!(refused, LinkError::Frame(FrameError::Kind { .. })), "{refused}");
    }
}
