//! The control messages: ties each type to the kind of frame that carries it, in one line.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::invalid::Invalid;
use super::kind::Kind;
use super::{
    audit, can, clean, connect, doctor, exec, failure, job, key, listen, note, pull, renewal,
    session, status, transfer, tree, upgrade,
};
use crate::codec;

/// A control message.
pub trait Message: Serialize + DeserializeOwned + Send + Sync {
    /// The kind of its frame.
    const KIND: Kind;

    /// Checks what the types can't ensure.
    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

macro_rules! messages {
    ($($kind:ident: $type:ty $(, $checked:ident)?;)*) => {
        $(impl Message for $type {
            const KIND: Kind = Kind::$kind;

            $(fn $checked(&self) -> Result<(), Invalid> {
                <$type>::$checked(self)
            })?
        })*

        /// Decodes and checks the payload of a frame of any kind, as its receiver would. Returns `None` if
        /// the kind is not a message's. For fuzzing.
        pub fn decode_any(kind: Kind, payload: &[u8]) -> Option<bool> {
            match kind {
                $(Kind::$kind => Some(
                    codec::decode::<$type>(payload).is_ok_and(|message| Message::check(&message).is_ok())
                ),)*
                _ => None,
            }
        }
    };
}

messages! {
    Ping: session::Ping;
    Pong: session::Pong;
    Failed: failure::Failure;
    Goodbye: session::Goodbye;
    Finished: session::Finished;
    Run: exec::Run, check;
    Attach: exec::Attach;
    Resize: exec::Resize;
    Started: exec::Started;
    Ack: exec::Ack;
    StdinEnd: exec::StdinEnd;
    StdinTaken: exec::StdinTaken;
    Signal: exec::Signal, check;
    Exit: exec::Exit;
    Release: exec::Release;
    List: job::List, check;
    Listed: job::Listed;
    Logs: job::Logs;
    Reading: job::Reading;
    LogsEnd: job::LogsEnd;
    Kill: job::Kill, check;
    Killed: job::Killed;
    Push: transfer::Push, check;
    Pull: pull::Pull, check;
    Offer: transfer::Offer, check;
    Have: transfer::Have;
    Hashes: transfer::Hashes;
    Complete: transfer::Complete;
    Done: transfer::Done;
    Copies: transfer::Copies;
    Clean: clean::Clean, check;
    Cleaned: clean::Cleaned;
    Lane: transfer::Lane, check;
    Taken: transfer::Taken;
    Part: transfer::Part;
    PushTree: tree::PushTree, check;
    Root: tree::Root;
    Entries: tree::Entries, check;
    Answers: tree::Answers;
    Begin: tree::Begin, check;
    Missed: tree::Missed;
    End: tree::End;
    Changes: tree::Changes;
    Settled: tree::Settled;
    ReadAudit: audit::ReadAudit;
    AuditFile: audit::AuditFile;
    AuditEnd: audit::AuditEnd;
    AcceptAudit: audit::AcceptAudit;
    AuditAccepted: audit::AuditAccepted;
    KeyList: key::KeyList;
    Keyring: key::Keyring;
    ListedKey: key::ListedKey;
    KeyAdd: key::KeyAdd, check;
    KeyAllow: key::KeyAllow, check;
    KeyRevoke: key::KeyRevoke, check;
    KeyRotate: key::KeyRotate;
    KeyChanged: key::KeyChanged;
    Can: can::Can, check;
    Verdict: can::Verdict;
    Permissions: can::Permissions;
    Renew: renewal::Renew;
    SigningRequest: renewal::SigningRequest, check;
    Install: renewal::Install, check;
    Installed: renewal::Installed;
    Upgrade: upgrade::Upgrade;
    Upgrading: upgrade::Upgrading;
    SendAgent: upgrade::SendAgent, check;
    Confirm: upgrade::Confirm;
    UpgradeState: upgrade::UpgradeState;
    Examine: doctor::Examine;
    Examined: doctor::Examined;
    Connect: connect::Connect, check;
    ConnectUnix: connect::ConnectUnix, check;
    Connected: connect::Connected;
    PipeTaken: connect::PipeTaken;
    PipeEnd: connect::PipeEnd;
    Park: connect::Park;
    Parked: connect::Parked;
    Handed: connect::Handed;
    Listen: listen::Listen, check;
    Listening: listen::Listening;
    Arrived: listen::Arrived;
    Take: listen::Take;
    Status: status::Status;
    HostStatus: status::HostStatus;
    ReadNotes: note::ReadNotes;
    NoteList: note::NoteList;
    WriteNote: note::WriteNote, check;
    NoteWritten: note::NoteWritten;
    ClearNotes: note::ClearNotes;
    NotesCleared: note::NotesCleared;
    NoteLeft: note::NoteLeft;
    OthersHere: status::OthersHere;
}
