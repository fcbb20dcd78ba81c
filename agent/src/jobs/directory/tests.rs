//! Tests of the jobs' directories.

use std::os::fd::AsFd;

use crate::jobs::words::{End, Exit, Offsets};
use lariat_base::name::{JobId, KeyId};

use super::super::record::Mark;
use super::*;

const KEY: KeyId = KeyId([1; 16]);
const JOB: JobName = JobName { key: KEY, id: JobId([7; 16]) };
const BOOT: BootId = BootId([2; 16]);

fn record() -> Record {
    Record {
        version: 1,
        key: KEY,
        boot: BOOT,
        began_ms: 3,
        detached: false,
        user: None,
        summary: Record::summary(b"true"),
    }
}

#[test]
fn an_id_is_given_out_once_until_it_is_forgotten() {
    let state = tempfile::tempdir().unwrap();
    let directories = Directories::open(state.path(), BOOT).unwrap();
    assert_eq!(directories.find(JOB).err().unwrap().kind(), io::ErrorKind::NotFound);
    let first = directories.create(JOB, &record()).unwrap();
    let again = directories.create(JOB, &record()).err().unwrap();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_dir(state.path().join("jobs")).unwrap().count(), 1);
    drop(first);
    directories.remove(JOB).unwrap();
    directories.create(JOB, &record()).unwrap();
}

#[test]
fn the_record_tells_what_became_of_it() {
    let state = tempfile::tempdir().unwrap();
    let directories = Directories::open(state.path(), BOOT).unwrap();
    let made = directories.create(JOB, &record()).unwrap();
    let found = directories.find(JOB).unwrap();
    assert_eq!((found.record, found.state), (record(), State::Alive(None)));
    Mark::Began.add(&made.record).unwrap();
    let exit = Exit { end: End::Exited(3), output: Offsets { stdout: 1, stderr: 2 } };
    Mark::Ended(exit).add(&made.record).unwrap();
    assert_eq!(directories.find(JOB).unwrap().state, State::Alive(Some(exit)), "it still waits");
    made.record.set_len(made.record.metadata().unwrap().len() - 1).unwrap();
    assert_eq!(directories.find(JOB).unwrap().state, State::Alive(None));
    drop(made);
    assert_eq!(directories.find(JOB).unwrap().state, State::Dead, "its end was torn");
    for kept in [false, true] {
        directories.remove(JOB).unwrap();
        let made = directories.create(JOB, &Record { detached: kept, ..record() }).unwrap();
        Mark::Ended(exit).add(&made.record).unwrap();
        let living = if kept { State::Over(exit) } else { State::Alive(Some(exit)) };
        assert_eq!(directories.find(JOB).unwrap().state, living, "nobody need come for a kept one");
        drop(made);
        assert_eq!(directories.find(JOB).unwrap().state, State::Over(exit));
    }
    directories.remove(JOB).unwrap();
    let made = directories.create(JOB, &record()).unwrap();
    Mark::Began.add(&made.record).unwrap();
    drop(made);
    assert_eq!(directories.find(JOB).unwrap().state, State::Dead);
}

#[test]
fn an_id_whose_command_was_never_started_is_free() {
    let state = tempfile::tempdir().unwrap();
    let directories = Directories::open(state.path(), BOOT).unwrap();
    drop(directories.create(JOB, &record()).unwrap());
    assert_eq!(directories.find(JOB).unwrap().state, State::NeverBegan);
    let mine = Record { key: KeyId([9; 16]), ..record() };
    let made = directories.create(JOB, &mine).unwrap();
    assert_eq!(directories.find(JOB).unwrap().record, mine);
    let taken = |directories: &Directories| {
        let error = directories.create(JOB, &record()).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(directories.find(JOB).unwrap().record, mine);
    };
    taken(&directories);
    Mark::Began.add(&made.record).unwrap();
    drop(made);
    taken(&directories);
    directories.remove(JOB).unwrap();
    drop(directories.create(JOB, &mine).unwrap());
    // What a record of an earlier boot does not say may have been lost.
    let rebooted = Directories::open(state.path(), BootId([3; 16])).unwrap();
    assert_eq!(rebooted.find(JOB).unwrap().state, State::Dead);
    taken(&rebooted);
    assert_eq!(fs::read_dir(state.path().join("jobs")).unwrap().count(), 1);
}

#[test]
fn what_nobody_came_for_is_swept_in_time_and_what_lives_is_not() {
    let state = tempfile::tempdir().unwrap();
    let directories = Directories::open(state.path(), BOOT).unwrap();
    let [alive, over, dead, torn, kept] =
        [1, 2, 3, 4, 5].map(|id| JobName { key: KEY, id: JobId([id; 16]) });
    let forgotten = std::cell::RefCell::new(Vec::new());
    drop(directories.create(kept, &Record { detached: true, ..record() }).unwrap());
    let _running = directories.create(alive, &record()).unwrap();
    let ended = directories.create(over, &record()).unwrap();
    Mark::Ended(Exit { end: End::Exited(0), output: Offsets::default() })
        .add(&ended.record)
        .unwrap();
    drop(ended);
    let died = directories.create(dead, &record()).unwrap();
    Mark::Began.add(&died.record).unwrap();
    drop(died);
    directories.create(torn, &record()).unwrap().record.set_len(2).unwrap();
    // What began long ago ended just now.
    let now = SystemTime::now();
    let hour = std::time::Duration::from_secs(3600);
    let sweep = |followed_since, detached_since| {
        directories
            .sweep(Keep { followed_since, detached_since }, |job| {
                forgotten.borrow_mut().push(job);
                Ok(())
            })
            .unwrap()
    };
    assert_eq!(sweep(now - hour, now - hour), 0);
    assert_eq!(sweep(now - hour, now + hour), 1, "each in its own time");
    assert_eq!(*forgotten.borrow(), [kept]);
    assert_eq!(sweep(now + hour, now - hour), 3);
    assert_eq!(directories.find(alive).unwrap().state, State::Alive(None));
    assert_eq!(fs::read_dir(state.path().join("jobs")).unwrap().count(), 1);
}

#[test]
fn what_jobs_keep_is_counted_whatever_became_of_them() {
    let state = tempfile::tempdir().unwrap();
    let directories = Directories::open(state.path(), BOOT).unwrap();
    let [alive, detached, torn] = [1, 2, 3].map(|id| JobName { key: KEY, id: JobId([id; 16]) });
    let _running = directories.create(alive, &record()).unwrap();
    drop(directories.create(detached, &Record { detached: true, ..record() }).unwrap());
    fs::write(directories.path(detached).join("stdout.0"), [0; 1000]).unwrap();
    directories.create(torn, &record()).unwrap().record.set_len(2).unwrap();
    let mut kept = directories.kept().unwrap();
    kept.sort_by_key(|kept| kept.job);
    let all = kept.iter().map(|kept| (kept.job, kept.is_alive, kept.is_detached));
    let expected = [(alive, true, false), (detached, false, true), (torn, false, false)];
    assert_eq!(all.collect::<Vec<_>>(), expected);
    assert!((1000..1200).contains(&kept[1].bytes) && kept[2].bytes == 2);
}

#[test]
fn an_id_is_each_keys_own() {
    let state = tempfile::tempdir().unwrap();
    let directories = Directories::open(state.path(), BOOT).unwrap();
    let theirs = JobName { key: KeyId([2; 16]), ..JOB };
    let _one = directories.create(JOB, &record()).unwrap();
    assert_eq!(directories.find(theirs).err().unwrap().kind(), io::ErrorKind::NotFound);
    let other = Record { key: theirs.key, ..record() };
    let _another = directories.create(theirs, &other).unwrap();
    assert_eq!(directories.find(theirs).unwrap().record, other);
    directories.remove(theirs).unwrap();
    assert_eq!(directories.names().unwrap(), [JOB]);
}

#[test]
fn jobs_that_an_earlier_version_has_started_are_found() {
    let state = tempfile::tempdir().unwrap();
    let directories = Directories::open(state.path(), BOOT).unwrap();
    let torn = JobName { key: NOBODY, id: JobId([8; 16]) };
    let old = |job: JobName| state.path().join("jobs").join(job.id.to_string());
    let running = directories.create(JOB, &record()).unwrap();
    directories.create(torn, &record()).unwrap().record.set_len(2).unwrap();
    for job in [JOB, torn] {
        fs::rename(directories.path(job), old(job)).unwrap();
    }
    let directories = Directories::open(state.path(), BOOT).unwrap();
    assert_eq!(directories.find(JOB).unwrap().state, State::Alive(None));
    let listener = listen(running.directory.as_fd()).unwrap();
    connect(directories.find(JOB).unwrap().directory.as_fd()).unwrap();
    listener.accept().unwrap();
    assert_eq!(directories.kept().unwrap().len(), 2, "one that can't be read goes in its time");
    assert!(!old(JOB).exists() && !old(torn).exists());
}

#[test]
fn sockets_work_in_directories_deeper_than_their_names_may_be_long() {
    let state = tempfile::tempdir().unwrap();
    let deep = state.path().join("d".repeat(120));
    let directories = Directories::open(&deep, BOOT).unwrap();
    let made = directories.create(JOB, &record()).unwrap();
    let listener = listen(made.directory.as_fd()).unwrap();
    connect(directories.find(JOB).unwrap().directory.as_fd()).unwrap();
    listener.accept().unwrap();
    unlisten(made.directory.as_fd());
    assert!(connect(made.directory.as_fd()).is_err());
}
