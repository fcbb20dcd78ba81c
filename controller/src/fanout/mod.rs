//! Runs one verb on many hosts: scheduling, output, results.

mod end;
mod ended;
mod failed;
mod gather;
mod host_count;
mod host_work;
mod ledger;
mod lines;
mod options;
mod outlet;
mod runner;
mod schedule;
mod screen;
mod sink;
mod stdin_broadcast;
mod verb;
mod worker_pool;

pub(crate) use end::End;
pub(crate) use ended::{Ended, counts};
pub(crate) use failed::{Failed, within};
pub(crate) use gather::{Gather, Whole};
pub(crate) use host_count::HostCount;
pub(crate) use host_work::{HostContext, HostWork};
pub(crate) use ledger::{Entry, Ledger, Plan, Record};
pub(crate) use options::{FanoutOptions, connections};
pub(crate) use outlet::Outlet;
pub(crate) use runner::Fanout;
pub(crate) use schedule::Limits;
pub(crate) use screen::Screen;
pub(crate) use sink::{OutFile, Sink};
pub(crate) use stdin_broadcast::StdinBroadcast;
pub(crate) use verb::{Hosts, Recorded, Verb};
pub(crate) use worker_pool::{Begin, Work, WorkerPool};
