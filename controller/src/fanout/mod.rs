//! One verb on many hosts: which of them when, what becomes of their output, and how it went.

mod end;
mod gather;
mod ledger;
mod lines;
mod schedule;
mod share;

pub(crate) use end::End;
pub(crate) use gather::Gather;
pub(crate) use ledger::{Entry, Ledger, Plan, Record};
pub(crate) use lines::Lines;
pub(crate) use schedule::{Limits, Schedule};
pub(crate) use share::Share;
