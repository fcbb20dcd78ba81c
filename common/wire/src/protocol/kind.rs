//! The kinds of frame.

/// A frame kind that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown frame kind {0:#06x}")]
pub struct UnknownKind(pub u16);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The kind of a frame's payload. The numbers are the wire's, and never change their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// Every kind, for tests that must not forget one.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }

        impl TryFrom<u16> for Kind {
            type Error = UnknownKind;

            fn try_from(number: u16) -> Result<Self, UnknownKind> {
                match number {
                    $($number => Ok(Self::$name),)*
                    other => Err(UnknownKind(other)),
                }
            }
        }
    };
}

kinds! {
    /// The agent's first message: [`super::hello::Challenge`].
    Challenge = 0x01,
    /// The controller's proof: [`super::hello::Login`].
    Login = 0x02,
    /// The agent's proof: [`super::hello::Welcome`].
    Welcome = 0x03,
    /// The only answer to a failed login: [`super::hello::Denied`].
    Denied = 0x04,

    /// Asks for a sign of life: [`super::session::Ping`].
    Ping = 0x10,
    /// Answers a ping: [`super::session::Pong`].
    Pong = 0x11,
    /// A request failed: [`super::failure::Failure`].
    Failed = 0x12,
    /// The agent accepts no more requests on this session: [`super::session::Goodbye`].
    Goodbye = 0x13,
    /// The agent's last frame of a request: [`super::session::Finished`].
    Finished = 0x14,

    /// Run a command: [`super::exec::Run`].
    Run = 0x20,
    /// The command runs: [`super::exec::Started`].
    Started = 0x21,
    /// Bulk: `u64` offset, then bytes of stdout.
    Stdout = 0x22,
    /// Bulk: `u64` offset, then bytes of stderr.
    Stderr = 0x23,
    /// Acknowledges output: [`super::exec::Ack`].
    Ack = 0x24,
    /// Bulk: `u64` offset, then bytes of stdin.
    Stdin = 0x25,
    /// The end of stdin: [`super::exec::StdinEnd`].
    StdinEnd = 0x26,
    /// Stdin that the command has taken: [`super::exec::StdinTaken`].
    StdinTaken = 0x27,
    /// Sends a signal to the job's processes: [`super::exec::Signal`].
    Signal = 0x28,
    /// How the command ended: [`super::exec::Exit`].
    Exit = 0x29,
    /// Output and exit have arrived, and nothing is left to keep: [`super::exec::Release`].
    Release = 0x2a,
    /// Continue a job: [`super::exec::Attach`].
    Attach = 0x2b,
    /// The size of the controller's terminal has changed: [`super::exec::Resize`].
    Resize = 0x2c,

    /// List jobs: [`super::job::List`].
    List = 0x30,
    /// Some of the jobs: [`super::job::Listed`].
    Listed = 0x31,
    /// Read a detached job's output: [`super::job::Logs`].
    Logs = 0x32,
    /// Where the output begins: [`super::job::Reading`].
    Reading = 0x33,
    /// The end of the output: [`super::job::LogsEnd`].
    LogsEnd = 0x34,
    /// Signal a job: [`super::job::Kill`].
    Kill = 0x35,
    /// The job was sent the signal: [`super::job::Killed`].
    Killed = 0x36,

    /// Send a file to the host: [`super::transfer::Push`].
    Push = 0x40,
    /// Fetch a file from the host: [`super::pull::Pull`].
    Pull = 0x41,
    /// The sender describes its file: [`super::transfer::Offer`].
    Offer = 0x42,
    /// The receiver says what it has: [`super::transfer::Have`].
    Have = 0x43,
    /// Bulk: [`super::transfer::ChunkHead`], then the chunk's bytes.
    Chunk = 0x44,
    /// Hashes of chunks that the receiver had or has rebuilt: [`super::transfer::Hashes`].
    Hashes = 0x45,
    /// Every chunk was sent or confirmed: [`super::transfer::Complete`].
    Complete = 0x46,
    /// The file is on disk under its name: [`super::transfer::Done`].
    Done = 0x47,
    /// Bulk: pieces of the receiver's basis, [`super::transfer::PIECE_LEN`] bytes each.
    Pieces = 0x48,
    /// What to copy from the basis: [`super::transfer::Copies`].
    Copies = 0x49,
    /// Bulk: [`super::transfer::LiteralHead`], then bytes that the basis does not have.
    Literal = 0x4a,
    /// Remove abandoned temporary files: [`super::clean::Clean`].
    Clean = 0x4b,
    /// How many were removed: [`super::clean::Cleaned`].
    Cleaned = 0x4c,
    /// One more connection for a transfer: [`super::transfer::Lane`].
    Lane = 0x4d,
    /// Chunks of a lane are written: [`super::transfer::Taken`].
    Taken = 0x4e,
    /// The chunks that follow on a lane are of a file of a tree: [`super::transfer::Part`].
    Part = 0x4f,

    /// Send a directory to the host: [`super::tree::PushTree`].
    PushTree = 0x50,
    /// The sender's directory, in answer to a Pull: [`super::tree::Root`].
    Root = 0x51,
    /// Entries of a directory: [`super::tree::Entries`].
    Entries = 0x52,
    /// What the receiver wants of them: [`super::tree::Answers`].
    Answers = 0x53,
    /// Bulk: [`super::transfer::LiteralHead`], then small files, each after a [`super::tree::PackedHead`].
    Pack = 0x54,
    /// The content of a large file follows: [`super::tree::Begin`].
    Begin = 0x55,
    /// One name failed; the rest goes on: [`super::tree::Missed`].
    Missed = 0x56,
    /// The sender has sent all of the tree: [`super::tree::End`].
    End = 0x57,
    /// What a dry run would do: [`super::tree::Changes`].
    Changes = 0x58,
    /// The tree is on disk: [`super::tree::Settled`].
    Settled = 0x59,

    /// Ask what a key may do: [`super::can::Can`].
    Can = 0x60,
    /// Whether it may: [`super::can::Verdict`].
    Verdict = 0x61,
    /// All that it may do: [`super::can::Permissions`].
    Permissions = 0x62,

    /// Read the audit: [`super::audit::ReadAudit`].
    ReadAudit = 0x68,
    /// A file of the audit follows: [`super::audit::AuditFile`].
    AuditFile = 0x69,
    /// Bulk: the file's next bytes.
    AuditBytes = 0x6a,
    /// Accept the audit as it is: [`super::audit::AcceptAudit`].
    AcceptAudit = 0x6b,
    /// The audit has a note of that: [`super::audit::AuditAccepted`].
    AuditAccepted = 0x6c,
    /// All of the audit was sent: [`super::audit::AuditEnd`].
    AuditEnd = 0x6d,

    /// List the keys of the keyring: [`super::key::KeyList`].
    KeyList = 0x70,
    /// Begins the list: [`super::key::Keyring`].
    Keyring = 0x71,
    /// A key of the list: [`super::key::ListedKey`].
    ListedKey = 0x72,
    /// Add a key: [`super::key::KeyAdd`].
    KeyAdd = 0x73,
    /// Replace a key's rules: [`super::key::KeyAllow`].
    KeyAllow = 0x74,
    /// Remove a key: [`super::key::KeyRevoke`].
    KeyRevoke = 0x75,
    /// Replace the key that asks: [`super::key::KeyRotate`].
    KeyRotate = 0x76,
    /// The keyring is as a request wants it: [`super::key::KeyChanged`].
    KeyChanged = 0x77,
    /// Ask for a signing request: [`super::renewal::Renew`].
    Renew = 0x78,
    /// A signing request: [`super::renewal::SigningRequest`].
    SigningRequest = 0x79,
    /// Try a certificate, or keep it: [`super::renewal::Install`].
    Install = 0x7a,
    /// The certificate is tried or kept: [`super::renewal::Installed`].
    Installed = 0x7b,

    /// Replace the agent: [`super::upgrade::Upgrade`].
    Upgrade = 0x80,
    /// What comes next: [`super::upgrade::Upgrading`].
    Upgrading = 0x81,
    /// Send the new agent: [`super::upgrade::SendAgent`].
    SendAgent = 0x82,
    /// Confirm an upgrade: [`super::upgrade::Confirm`].
    Confirm = 0x83,
    /// How it stands: [`super::upgrade::UpgradeState`].
    UpgradeState = 0x84,
    /// Examine the host: [`super::doctor::Examine`].
    Examine = 0x85,
    /// What was found: [`super::doctor::Examined`].
    Examined = 0x86,

    /// Connect from the host to an address: [`super::connect::Connect`].
    Connect = 0x90,
    /// Connect from the host to a unix socket: [`super::connect::ConnectUnix`].
    ConnectUnix = 0x91,
    /// The connection exists: [`super::connect::Connected`].
    Connected = 0x92,
    /// Bulk: the pipe's next bytes.
    PipeBytes = 0x93,
    /// More may be sent: [`super::connect::PipeTaken`].
    PipeTaken = 0x94,
    /// No byte follows: [`super::connect::PipeEnd`].
    PipeEnd = 0x95,
    /// Offer the connection to controllers of a host: [`super::connect::Park`].
    Park = 0x96,
    /// It waits for one: [`super::connect::Parked`].
    Parked = 0x97,
    /// A controller has taken it: [`super::connect::Handed`].
    Handed = 0x98,
    /// Listen on the host: [`super::listen::Listen`].
    Listen = 0x9a,
    /// The host listens: [`super::listen::Listening`].
    Listening = 0x9b,
    /// A connection has arrived: [`super::listen::Arrived`].
    Arrived = 0x9c,
    /// Take it: [`super::listen::Take`].
    Take = 0x9d,

    /// Ask how the host is: [`super::status::Status`].
    Status = 0xa0,
    /// How it is: [`super::status::HostStatus`].
    HostStatus = 0xa1,
    /// Read notes: [`super::note::ReadNotes`].
    ReadNotes = 0xa2,
    /// The notes: [`super::note::NoteList`].
    NoteList = 0xa3,
    /// Leave a note: [`super::note::WriteNote`].
    WriteNote = 0xa4,
    /// It is kept: [`super::note::NoteWritten`].
    NoteWritten = 0xa5,
    /// Clear notes: [`super::note::ClearNotes`].
    ClearNotes = 0xa6,
    /// They are cleared: [`super::note::NotesCleared`].
    NotesCleared = 0xa7,
    /// A note of another key: [`super::note::NoteLeft`].
    NoteLeft = 0xa8,
    /// Who else is there: [`super::status::OthersHere`].
    OthersHere = 0xa9,
}

impl Kind {
    /// Whether the payload is raw bytes that never pass through serde.
    pub const fn is_bulk(self) -> bool {
        use Kind::{AuditBytes, Chunk, Literal, Pack, Pieces, PipeBytes, Stderr, Stdin, Stdout};
        matches!(
            self,
            Stdout | Stderr | Stdin | Chunk | Pieces | Literal | Pack | AuditBytes | PipeBytes
        )
    }

    /// Whether frames of this kind come before authentication.
    pub const fn is_hello(self) -> bool {
        matches!(self, Self::Challenge | Self::Login | Self::Welcome | Self::Denied)
    }

    /// Whether frames of this kind belong to the session and not to a request.
    pub const fn is_session(self) -> bool {
        self.is_hello() || matches!(self, Self::Ping | Self::Pong | Self::Goodbye)
    }
}
