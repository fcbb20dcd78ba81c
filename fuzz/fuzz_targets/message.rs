//! Every control message's decoder and checks, on any bytes; the first two say which.
#![no_main]

use lariat_wire::codec::decode;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::clean::{Clean, Cleaned};
use lariat_wire::protocol::exec::{Ack, Attach, Exit, Run, Signal, Started, StdinEnd, StdinTaken};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::pull::Pull;
use lariat_wire::protocol::transfer::{Complete, Copies, Done, Hashes, Have, Offer, Push};
use lariat_wire::protocol::tree::{
    Answers, Begin, Changes, End, Entries, Missed, PushTree, Root, Settled,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, payload)) = bytes.split_first_chunk::<2>() else { return };
    let Ok(kind) = Kind::try_from(u16::from_le_bytes(*kind)) else { return };
    match kind {
        Kind::Run => drop(decode::<Run>(payload).map(|run| run.check())),
        Kind::Attach => drop(decode::<Attach>(payload)),
        Kind::Push => drop(decode::<Push>(payload).map(|push| push.check())),
        Kind::Pull => drop(decode::<Pull>(payload).map(|pull| pull.check())),
        Kind::Offer => drop(decode::<Offer>(payload).map(|offer| offer.check())),
        Kind::Have => drop(decode::<Have>(payload).map(|have| have.check(1000))),
        Kind::Failed => drop(decode::<Failure>(payload).map(|failure| failure.to_string())),
        Kind::Hashes => drop(decode::<Hashes>(payload)),
        Kind::Copies => drop(decode::<Copies>(payload)),
        Kind::Complete => drop(decode::<Complete>(payload)),
        Kind::Done => drop(decode::<Done>(payload)),
        Kind::PushTree => drop(decode::<PushTree>(payload).map(|push| push.check())),
        Kind::Root => drop(decode::<Root>(payload).map(|root| root.entry.check_root())),
        Kind::Entries => drop(decode::<Entries>(payload).map(|entries| entries.check())),
        Kind::Begin => drop(decode::<Begin>(payload).map(|begin| begin.offer.check())),
        Kind::Answers => drop(decode::<Answers>(payload)),
        Kind::Missed => drop(decode::<Missed>(payload)),
        Kind::End => drop(decode::<End>(payload)),
        Kind::Changes => drop(decode::<Changes>(payload)),
        Kind::Clean => drop(decode::<Clean>(payload).map(|clean| clean.check())),
        Kind::Cleaned => drop(decode::<Cleaned>(payload)),
        Kind::Settled => drop(decode::<Settled>(payload)),
        Kind::Started => drop(decode::<Started>(payload)),
        Kind::Ack => drop(decode::<Ack>(payload)),
        Kind::StdinEnd => drop(decode::<StdinEnd>(payload)),
        Kind::StdinTaken => drop(decode::<StdinTaken>(payload)),
        Kind::Signal => drop(decode::<Signal>(payload)),
        Kind::Exit => drop(decode::<Exit>(payload)),
        _ => {}
    }
});
