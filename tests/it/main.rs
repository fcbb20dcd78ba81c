//! End-to-end tests of the real binaries, one module for each feature.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where something is not as it must be"
)]

mod agent;
mod alone;
mod attributes;
mod audit;
mod audit_detached;
mod audit_faults;
mod batch;
mod commands;
mod completions;
mod content;
mod controller;
mod cuts;
mod demo;
mod destinations;
mod detach;
mod dial;
mod discover;
mod doctor;
mod documents;
mod encoding;
mod enroll;
mod fanout;
mod fanout_copy;
mod fanout_stdin;
mod faults;
mod forward;
mod full_disk;
mod inplace;
mod install;
mod jobs;
mod jobs_many;
mod json;
mod keys;
mod kill;
mod left_behind;
mod local;
mod man;
mod mistakes;
mod network;
mod note;
mod oracle;
mod outage;
mod owners;
mod reconnect;
mod renewal;
mod resume;
mod retry;
mod rsh;
mod rules;
mod run;
mod screens;
mod shell;
mod short_links;
mod ssh;
mod status;
mod status_page;
mod streams;
mod supervisor;
mod temporary;
mod transfer;
mod tree;
mod unwritable;
mod update;
mod upgrade;
mod usage;
mod verify;
mod versions;
mod via;
mod watch;
mod worker;
