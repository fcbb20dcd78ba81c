//! Messages that grow, between this version and others: bytes that former versions sent are read, and those of this version
//! begin with what former versions know. Bytes here are never changed: a part that got a field keeps its old line.

use lariat_base::name::KeyId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::note::{Note, NoteLeft, NoteList, Notes};
use super::status::{
    Disk, HostStatus, LimitUse, OthersHere, Report, RunningJob, SessionStatus, TransferStatus,
};
use crate::codec;
use crate::grown::Grown;

/// HostStatus of an agent that knew no notes.
const WITHOUT_NOTES: &str = "\
    3b020000000000000500000000000000302e312e3009000000000000004c696e757820362e310700\
    00000000000006000000000000000400000000000000020000002a000000820000000500000000100000000000000004\
    0000000000000002000000000000000100000000000000d2496b00000000c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4aa00\
    0000000000005a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a01000000000000003600\
    00000000000001000000000000002f04000000000000006578743400000040000000000000100000000000e803000000\
    0000000a00000000000000000100000000000000240000000000000004000000000000006a6f62730100000000000000\
    40000000000000000200000000000000010000000000000050000000000000005e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e\
    a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a10300000000000000626f620a0000000000000031302e302e302e373a35050000\
    0000000000030000000000000072756e01000000000000004d000000000000001d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d\
    a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a10300000000000000626f62050000000000000001010300000000000000777777\
    0104000000000000006d616b6501000000000000004a00000000000000a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1030000\
    0000000000626f62050000000000000001000104000000000000002f7372760900000000000000010000000000000003\
    0000000000000003000000";

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex.replace(' ', "")).unwrap()
}

/// Checks a part of messages against bytes that a former version sent, and returns what they say.
fn check<T>(former: &str) -> T
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let former = bytes(former);
    let read: T = codec::decode_grown(&former).unwrap();
    // A former version reads the beginning, and ignores what was appended.
    assert!(codec::encode(&read).unwrap().starts_with(&former), "{read:?}");
    // So does this version with what a later one sends, whatever that is.
    let newer = [&codec::encode(&read).unwrap()[..], &[9; 5]].concat();
    assert_eq!(codec::decode_grown::<T>(&newer).unwrap(), read);
    // Every field has a value that stands for its absence.
    assert!(codec::decode_grown::<T>(&[]).is_ok());
    read
}

#[test]
fn a_status_without_notes_is_read() {
    let former = bytes(WITHOUT_NOTES);
    let HostStatus { report: Grown(report) } = codec::decode(&former).unwrap();
    assert_eq!((report.version.as_str(), report.kernel.as_str()), ("0.1.0", "Linux 6.1"));
    assert_eq!((report.memory.total, report.memory.swap_free), (4096, 256));
    assert_eq!((report.certificate_end, report.audit.seq), (1_800_000_000, 170));
    assert_eq!(report.disks[0].0.kind, "ext4");
    assert_eq!((report.limits[0].0.total, report.sessions[0].0.doing.as_str()), (64, "run"));
    assert_eq!(report.jobs[0].0.command.as_deref(), Some(&b"make"[..]));
    assert_eq!((report.transfers[0].0.moved, report.unlisted), (3, 3));
    assert_eq!(report.notes, []);
}

#[test]
fn a_status_of_today_is_read_by_who_knows_no_notes() {
    let read: Report = check(
        "0500000000000000 302e312e30 0900000000000000 4c696e757820362e31 0700000000000000 \
         0600000000000000 0400000000000000 02000000 2a000000 82000000 05000000 0010000000000000 \
         0004000000000000 0002000000000000 0001000000000000 00d2496b00000000 \
         c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4 aa00000000000000 \
         5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 0000000000000000 \
         0000000000000000 0000000000000000 0000000000000000 0000000000000000 03000000",
    );
    assert_eq!((read.load, read.unlisted), ([42, 130, 5], 3));
}

#[test]
fn parts_of_a_status_only_grow_at_their_end() {
    let disk: Disk = check(
        "0100000000000000 2f 0400000000000000 65787434 0000004000000000 0000100000000000 \
         e803000000000000 0a00000000000000 00",
    );
    assert_eq!((disk.size, disk.files_free), (1 << 30, 10));
    let limit: LimitUse =
        check("0400000000000000 6a6f6273 0100000000000000 4000000000000000 0200000000000000");
    assert_eq!((limit.name.as_str(), limit.refusals), ("jobs", 2));
    let session: SessionStatus = check(
        "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1 0300000000000000 626f62 \
         0a00000000000000 31302e302e302e373a35 0500000000000000 0300000000000000 72756e",
    );
    assert_eq!((session.label.as_str(), session.doing.as_str()), ("bob", "run"));
    let job: RunningJob = check(
        "1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1 0300000000000000 626f62 \
         0500000000000000 01 01 0300000000000000 777777 01 0400000000000000 6d616b65",
    );
    assert_eq!((job.is_detached, job.user.as_deref()), (true, Some("www")));
    let transfer: TransferStatus = check(
        "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1 0300000000000000 626f62 0500000000000000 01 00 \
         01 0400000000000000 2f737276 0900000000000000 0100000000000000 0300000000000000",
    );
    assert_eq!((transfer.total, transfer.had, transfer.moved), (9, 1, 3));
}

#[test]
fn notes_only_grow_at_their_end() {
    let note: Note = check(
        "07000000 0500000000000000 a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1 0300000000000000 626f62 \
         0200000000000000 6869",
    );
    assert_eq!((note.number, note.key, note.text.as_str()), (7, KeyId([0xa1; 16]), "hi"));
    let empty: Notes = check("0000000000000000");
    assert_eq!(empty.notes, []);
}

/// What a later version may make of a part.
#[derive(Serialize)]
struct Later<T> {
    today: T,
    more: (u64, Option<String>, Vec<u8>),
}

fn later<T>(today: T) -> Grown<Later<T>> {
    Grown(Later { today, more: (7, Some("more".to_owned()), vec![1, 2]) })
}

#[test]
fn messages_with_parts_of_a_later_version_are_read() {
    let note = || Note {
        number: 7,
        time_ms: 5,
        key: KeyId([0xa1; 16]),
        label: "bob".to_owned(),
        text: "hi".to_owned(),
    };
    let left: NoteLeft = codec::decode(&codec::encode(&later(note())).unwrap()).unwrap();
    assert_eq!(left.note.0, note());
    // A list of notes with more fields, in an answer with more fields.
    let list = later(vec![later(note()), later(note())]);
    let list: NoteList = codec::decode(&codec::encode(&list).unwrap()).unwrap();
    assert_eq!(list.list.0.notes, [Grown(note()), Grown(note())]);

    let former = bytes(WITHOUT_NOTES);
    let HostStatus { report: Grown(report) } = codec::decode(&former).unwrap();
    let session = report.sessions[0].0.clone();
    let others = vec![later(session.clone())];
    let others: OthersHere = codec::decode(&codec::encode(&others).unwrap()).unwrap();
    assert_eq!(others.others, [Grown(session)]);
    let status: HostStatus =
        codec::decode(&codec::encode(&later(report.clone())).unwrap()).unwrap();
    assert_eq!(status.report.0, report);
}
