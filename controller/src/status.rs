//! Exit statuses, of all verbs: the one table of them.
//!
//! | status | on one host | on several |
//! |---|---|---|
//! | 0 | done | done on every host |
//! | the command's own | it ran | |
//! | 1 | the verdict "no" of a verb that gives one | a command failed, timed out or was not started |
//! | 124 | `--timeout` was over | |
//! | 126, 127 | a command could not be run, as a shell says it | |
//! | 128+N | signal N ended the command | signal N ended lariat: 130 is Ctrl-C |
//! | 255 | lariat failed, wrong usage included | on a host: not reached, refused, or lariat failed there |

use crate::fanout::End;

/// Every failure of lariat itself.
pub(crate) const FAILURE: u8 = 255;

/// A command failed on one of several hosts.
pub(crate) const SOME_FAILED: u8 = 1;

/// The time of `--timeout` was over, on one host.
pub(crate) const TIMEOUT: u8 = 124;

/// Nobody read the output any more: as SIGPIPE would end a process.
pub(crate) const NO_READER: u8 = signal(13);

/// A signal ended it, as a shell shows that.
pub(crate) const fn signal(number: u8) -> u8 {
    128_u8.saturating_add(number)
}

/// What it is on one host that ended so, where no command has a status of its own.
pub(crate) fn of_one(end: End) -> u8 {
    match end {
        End::Ok => 0,
        End::TimedOut => TIMEOUT,
        End::NotStarted
        | End::Unfinished
        | End::Failed
        | End::Errored
        | End::Unreachable
        | End::Refused => FAILURE,
    }
}

/// What it is on several hosts that ended so, when this signal came meanwhile.
pub(crate) fn of_several(ends: impl IntoIterator<Item = End>, came: Option<u8>) -> u8 {
    let status = |end| match end {
        End::Ok => 0,
        End::NotStarted | End::Unfinished | End::Failed | End::TimedOut => SOME_FAILED,
        End::Errored | End::Unreachable | End::Refused => FAILURE,
    };
    let worst = ends.into_iter().map(status).max().unwrap_or_default();
    match came {
        Some(number) if worst > 0 => signal(number),
        _ => worst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_end_decides() {
        let several = |ends: &[End]| of_several(ends.iter().copied(), None);
        assert_eq!(several(&[]), 0);
        assert_eq!(several(&[End::Ok, End::Ok]), 0);
        for one in [End::Failed, End::TimedOut, End::NotStarted, End::Unfinished] {
            assert_eq!(several(&[End::Ok, one]), 1, "{one:?}");
        }
        for all in [End::Errored, End::Unreachable, End::Refused] {
            assert_eq!(several(&[End::Failed, all, End::Ok]), 255, "{all:?}");
        }
    }

    #[test]
    fn a_signal_is_the_status_where_it_stopped_anything() {
        assert_eq!(of_several([End::Ok, End::NotStarted], Some(2)), 130);
        assert_eq!(of_several([End::Unreachable, End::Failed], Some(15)), 143);
        assert_eq!(of_several([End::Ok], Some(2)), 0, "every command went on to its end");
    }

    #[test]
    fn on_one_host_only_a_time_limit_is_no_failure_of_lariat() {
        assert_eq!((of_one(End::Ok), of_one(End::TimedOut)), (0, 124));
        for end in [End::Errored, End::Failed, End::Unreachable, End::Refused, End::NotStarted] {
            assert_eq!(of_one(end), 255, "{end:?}");
        }
    }
}
