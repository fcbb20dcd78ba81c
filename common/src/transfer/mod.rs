//! The transfer engine: one sender and one receiver, used by both ends.
