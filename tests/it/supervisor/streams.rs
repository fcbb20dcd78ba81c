//! Output and input under pressure: nothing is lost, and nothing grows without bound.

use std::time::{Duration, Instant};

use lariat_agent::jobs::Event;
use lariat_agent::jobs::channel::{self, ToSupervisor};
use lariat_testing::wait::block_on;
use lariat_wire::limits::STDIN_CREDIT;
use lariat_wire::protocol::exec::{Ack, End, Exit, Run, Streams};

use super::{Host, memory, shell, take};

/// Most bytes that a supervisor keeps of a stream: 4 MiB on disk.
const WINDOW: u64 = 4 * 1024 * 1024;

#[test]
fn much_output_passes_through_a_small_window_whole() {
    block_on(async {
        let host = Host::new();
        let line = "head -c 300000000 /dev/zero | tr '\\0' x; echo; echo end >&2";
        let (mut events, commands) = host.start(shell(line));
        let (mut acked, mut buffer, mut pid) = (Ack::default(), vec![0; 1 << 18], 0);
        let exit = loop {
            match events.next().await.unwrap() {
                Event::Started(started) => pid = started.pid,
                Event::Output(ends) => {
                    assert!(ends.stdout - acked.stdout <= WINDOW);
                    while acked.stdout < ends.stdout {
                        let stream = lariat_agent::jobs::Stream::Stdout;
                        let len =
                            events.read(stream, acked.stdout, ends.stdout, &mut buffer).unwrap();
                        let end = acked.stdout + len as u64;
                        let newline = usize::from(end > 300_000_000);
                        assert!(buffer[..len - newline].iter().all(|&byte| byte == b'x'));
                        acked.stdout = end;
                    }
                    acked.stderr = ends.stderr;
                    commands.say(&ToSupervisor::Ack(acked.into())).await.unwrap();
                    if acked.stdout < 200_000_000 {
                        let [_, own] = memory(pid);
                        assert!(own < 2048, "{own} KiB");
                    }
                }
                Event::Exit(exit) => break exit,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(exit, Exit { end: End::Exited(0), stdout: 300_000_001, stderr: 4 });
    });
}

#[test]
fn without_acknowledgements_the_command_is_held_back_and_loses_nothing() {
    block_on(async {
        let host = Host::new();
        let (mut events, commands) = host.start(shell("yes 0123456 | head -c 10000000"));
        let (mut said, mut buffer) = ([Vec::new(), Vec::new()], vec![0; 1 << 16]);
        let mut ends = Ack::default();
        while ends.stdout < WINDOW {
            if let Event::Output(now) = events.next().await.unwrap() {
                ends = now;
            }
        }
        let more = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
        assert!(more.is_err(), "nothing more is read: {more:?}");
        loop {
            take(&events, ends, &mut said, &mut buffer);
            commands.say(&ToSupervisor::Ack(ends.into())).await.unwrap();
            match events.next().await.unwrap() {
                Event::Output(now) => ends = now,
                Event::Exit(exit) => {
                    assert_eq!(exit.stdout, 10_000_000);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(said[0].chunks(8).all(|line| line == b"0123456\n"));
    });
}

#[test]
fn what_a_command_wrote_before_it_ended_is_never_cut_off() {
    // The command ends while its pipe and the window are full, and reading pauses for longer than the drain
    // time.
    block_on(async {
        let host = Host::new();
        let line = "head -c 4250000 /dev/zero; sleep 1000 & echo $! >&2";
        let (mut events, commands) = host.start(shell(line));
        let mut ends = Ack::default();
        while ends.stderr == 0 {
            if let Event::Output(now) = events.next().await.unwrap() {
                ends = now;
            }
        }
        let began = Instant::now();
        let wait = tokio::time::timeout(Duration::from_millis(2500), events.next()).await;
        assert!(wait.is_err() && began.elapsed() > Duration::from_secs(2));
        commands.say(&ToSupervisor::Ack(ends.into())).await.unwrap();
        let exit = loop {
            match events.next().await.unwrap() {
                Event::Output(_) => {}
                Event::Exit(exit) => break exit,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((exit.stdout, exit.end), (4_250_000, End::Exited(0)));
    });
}

#[test]
fn stdin_reaches_the_command_under_credit() {
    block_on(async {
        let host = Host::new();
        let request = Run {
            streams: Streams::Followed { stdin: true },
            ..shell("read wait < /proc/$$/fd/0; sleep 0.2; wc -c; cat >/dev/null")
        };
        let (mut events, commands) = host.start(request);
        let bytes = [b"go\n", vec![b'x'; 3_000_000].as_slice()].concat();
        let len = bytes.len() as u64;
        let (mut sent, mut taken, mut said) = (0, 0, [Vec::new(), Vec::new()]);
        let exit = loop {
            while sent < len && sent < taken + STDIN_CREDIT {
                let piece = (len - sent).min(taken + STDIN_CREDIT - sent).min(100_000);
                let from = usize::try_from(sent).unwrap();
                let upto = usize::try_from(sent + piece).unwrap();
                commands.stdin(sent, &bytes[from..upto]).await.unwrap();
                sent += piece;
                if sent == len {
                    commands.say(&ToSupervisor::StdinEnd(len)).await.unwrap();
                }
            }
            match events.next().await.unwrap() {
                Event::StdinTaken(now) => {
                    assert!(now.upto > taken && !now.closed);
                    taken = now.upto;
                }
                Event::Output(ends) => take(&events, ends, &mut said, &mut [0; 100]),
                Event::Exit(exit) => break exit,
                Event::Started(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(exit.end, End::Exited(0));
        // Credit is returned in quarters; the rest of one at the command's end is not reported.
        assert!(taken <= len && len - taken < STDIN_CREDIT / 4, "{taken}");
        let count: u64 = String::from_utf8(said[0].clone()).unwrap().trim().parse().unwrap();
        // The shell may have read ahead of the first line.
        assert!(count <= 3_000_000 && count > 2_900_000, "{count}");
    });
}

#[test]
fn a_command_that_closes_its_stdin_is_told_of() {
    block_on(async {
        let host = Host::new();
        let (mut events, commands) = host.start(Run {
            streams: Streams::Followed { stdin: true },
            ..shell("exec <&-; echo closed; read x </dev/zero | sleep 1000")
        });
        let mut closed = false;
        while !closed {
            match events.next().await.unwrap() {
                Event::StdinTaken(taken) => closed = taken.closed,
                Event::Output(_) => commands.stdin(0, b"x").await.unwrap(),
                _ => {}
            }
        }
        commands
            .say(&ToSupervisor::Signal(channel::Signal { number: 9, once: [0; 16] }))
            .await
            .unwrap();
        while !matches!(events.next().await.unwrap(), Event::Exit(exit) if exit.end == End::Signaled(9))
        {
        }
    });
}

#[test]
fn an_idle_supervisor_is_small() {
    block_on(async {
        let host = Host::new();
        let (mut events, _mouth) = host.start(shell("read x </dev/tty; sleep 1000"));
        let Event::Started(started) = events.next().await.unwrap() else {
            panic!("it did not start")
        };
        let [all, own] = memory(started.pid);
        println!("supervisor: {all} KiB resident, {own} KiB of its own");
        assert!(own < 2048, "{own} KiB");
        drop(events);
        super::kill(started.pid);
    });
}
