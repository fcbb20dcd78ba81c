//! One verb on many hosts: which of them when, what becomes of their output, and how it went.

mod ask;
mod crew;
mod drive;
mod end;
mod ended;
mod failed;
mod feed;
mod gather;
mod ledger;
mod lines;
mod options;
mod report;
mod schedule;
mod screen;
mod share;
mod sink;

pub(crate) use crew::Work;
pub(crate) use drive::Fanout;
pub(crate) use end::End;
pub(crate) use ended::{Ended, counts};
pub(crate) use failed::{Failed, within};
pub(crate) use feed::Feed;
pub(crate) use gather::{Gather, Whole};
pub(crate) use ledger::{Entry, Ledger, Plan, Record};
pub(crate) use options::FanoutOptions;
pub(crate) use report::Report;
pub(crate) use schedule::Limits;
pub(crate) use screen::Screen;
pub(crate) use share::Share;
pub(crate) use sink::{OutFile, Sink};
