//! The limits of the wire, each with its unit and its reason.

use std::time::Duration;

/// Largest frame payload before authentication, in bytes: what an unauthenticated peer can make the agent
/// hold.
pub const MAX_FRAME_UNAUTHENTICATED: usize = 4 * 1024;

/// Largest control message after authentication, in bytes.
pub const MAX_MESSAGE: usize = 1024 * 1024;

/// Room in a bulk payload for the numbers that say where its bytes belong, in bytes.
pub const MAX_BULK_HEADER: usize = 64;

/// Largest frame payload after authentication, in bytes.
pub const MAX_FRAME: usize = 1024 * 1024 + MAX_BULK_HEADER;

/// Most bytes that a peer may send before it has logged in, TLS included.
pub const MAX_UNAUTHENTICATED_BYTES: u64 = 100 * 1024;

/// From accepting a connection to the end of its login: TLS and authentication share this deadline.
pub const LOGIN_DEADLINE: Duration = Duration::from_secs(10);

/// The time from a denied login's arrival to the answer, whatever the cause.
pub const DENIAL_DELAY: Duration = Duration::from_millis(50);

/// Silence after which an end sends a `Ping`.
pub const PING_AFTER: Duration = Duration::from_secs(10);

/// Silence after which an end considers the other dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(30);

/// Silence after which a controller sends the first `Ping`, so that it notices an outage within 2 s.
pub const PROBE_AFTER: Duration = Duration::from_secs(1);

/// How often an end that receives bulk frames confirms that they arrive.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Lowest rate at which a frame may arrive, in bytes per second, once it has taken [`DEAD_AFTER`]. Low enough
/// for a hundred hosts that share a modem's line.
pub const SLOWEST: u64 = 64;

/// Bytes of a command's stdin in flight; the credit is returned as the command reads them. Enough that the
/// five processes on the way work in parallel, and what a supervisor can hold.
pub const STDIN_CREDIT: u64 = 1024 * 1024;

/// Bytes of a file in one chunk frame, which are hashed, journaled and resumed together. A power of two, so
/// that a chunk is a subtree of the file's BLAKE3 tree; small enough to stay in a core's second-level cache
/// while it is read, hashed, sealed and sent.
pub const CHUNK: usize = 512 * 1024;

/// Most bytes of command output in one frame.
pub const OUTPUT_FRAME: usize = 256 * 1024;

/// Length of a datagram that reaches every host of a network segment whole, in bytes: IPv6 carries 1280 anywhere, headers
/// included.
pub const MAX_DATAGRAM: usize = 1200;

/// Longest path on the wire, in bytes (Linux's PATH_MAX).
pub const MAX_PATH: usize = 4096;

/// Longest single name on the wire, in bytes (Linux's NAME_MAX).
pub const MAX_NAME: usize = 255;

/// Longest certificate or signing request, in bytes.
pub const MAX_CERTIFICATE: usize = 16 * 1024;

/// Most words in a command's argv, and most variables in its environment: as many as fit a message.
pub const MAX_WORDS: usize = 128 * 1024;

/// Most bytes of extended attributes of one file, their names included.
pub const MAX_XATTRS: usize = 64 * 1024;

/// Most entries in one `Entries`.
pub const MAX_ENTRIES: usize = 1024;

/// Most rules in `TreeOptions`.
pub const MAX_RULES: usize = 1024;

/// Longest glob of a rule, in bytes.
pub const MAX_GLOB: usize = 1024;

/// Longest note, in bytes.
pub const MAX_NOTE: usize = 500;
