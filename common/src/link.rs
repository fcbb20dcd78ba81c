//! Frames over any stream.
