//! Figures of the kernel: load, memory, processors. What can't be read is zero.

use std::fs;

use lariat_wire::protocol::status::MemoryUse;

/// The load of the last 1, 5 and 15 minutes, in hundredths.
pub fn load() -> [u32; 3] {
    parse_load(&read("/proc/loadavg"))
}

/// The memory.
pub fn memory() -> MemoryUse {
    parse_memory(&read("/proc/meminfo"))
}

/// The number of processors that are online.
pub fn processors() -> u32 {
    parse_processors(&read("/sys/devices/system/cpu/online"))
}

/// The kernel's name and release: `Linux 6.1.0`.
pub fn kernel() -> String {
    let uname = rustix::system::uname();
    format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The kernel writes two digits behind the point.
fn parse_load(text: &str) -> [u32; 3] {
    let mut figures = text.split_whitespace().map(|figure| {
        let (whole, part) = figure.split_once('.')?;
        let [whole, part] = [whole, part].map(|digits| digits.parse::<u32>().ok());
        whole?.checked_mul(100)?.checked_add(part.filter(|part| *part < 100)?)
    });
    [(); 3].map(|()| figures.next().flatten().unwrap_or_default())
}

fn parse_memory(text: &str) -> MemoryUse {
    let bytes = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok());
        kib.map_or(0, |kib: u64| kib.saturating_mul(1024))
    };
    MemoryUse {
        total: bytes("MemTotal"),
        available: bytes("MemAvailable"),
        swap: bytes("SwapTotal"),
        swap_free: bytes("SwapFree"),
    }
}

/// Counts a list such as `0-3,8`.
fn parse_processors(text: &str) -> u32 {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let [first, last] = [first, last].map(|number| number.parse::<u32>().ok());
        last?.checked_sub(first?)?.checked_add(1)
    };
    text.trim().split(',').filter_map(count).fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(parse_load("0.42 1.30 12.05 2/345 6789\n"), [42, 130, 1205]);
        let text = "MemTotal:        8056 kB\nMemFree: 1 kB\nMemAvailable:   5000 kB\nSwapTotal: 2 kB\n\
                    SwapFree:  1 kB\n";
        let [total, available, swap, swap_free] = [8056, 5000, 2, 1].map(|kib| kib * 1024);
        assert_eq!(parse_memory(text), MemoryUse { total, available, swap, swap_free });
        assert_eq!(["0\n", "0-3\n", "0-3,8\n", "0,2,4-5"].map(parse_processors), [1, 4, 5, 4]);
    }

    #[test]
    fn what_is_not_as_expected_is_zero() {
        for odd in ["", "x", "1 2 3", "1.x 4294967295.99 1.100", "-1.00"] {
            assert_eq!(parse_load(odd), [0; 3], "{odd}");
        }
        let odd = "MemTotal: 99999999999999999999 kB\nMemAvailable: 5\nSwapTotal";
        assert_eq!(parse_memory(odd), MemoryUse::default());
        assert_eq!(parse_memory(&format!("MemTotal: {} kB", u64::MAX)).total, u64::MAX);
        for odd in ["", "x", "3-1", "0-4294967295", "-"] {
            assert_eq!(parse_processors(odd), 0, "{odd}");
        }
    }

    #[test]
    fn this_machine_has_figures() {
        assert!(memory().total > memory().available && processors() > 0);
        assert!(kernel().starts_with("Linux "), "{}", kernel());
    }
}
