//! Names of signals.

use nix::sys::signal::Signal;

/// The name of a signal, such as `SIGTERM`; `signal 40` for one without a name.
pub(crate) fn signal_name(number: u8) -> String {
    let name = Signal::try_from(i32::from(number)).map(Signal::as_str);
    name.map_or_else(|_| format!("signal {number}"), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_but_for_real_time_ones() {
        let names = [2, 9, 15, 40, 0].map(signal_name);
        assert_eq!(names, ["SIGINT", "SIGKILL", "SIGTERM", "signal 40", "signal 0"]);
    }
}
