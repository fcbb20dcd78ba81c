//! Somebody who owns a directory of the tree, and swaps it for a link all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Rounds of swapping that a test sees at least.
const SWAPS: u64 = 5000;

/// Swaps `directory` for a link to `target`, and back, until it is dropped.
struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<std::sync::atomic::AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Swapper {
    fn start(directory: PathBuf, target: PathBuf) -> Self {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let decoy = directory.with_extension("decoy");
        let (stop, swaps) = (Arc::<AtomicBool>::default(), Arc::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&swaps));
        let counted: Arc<std::sync::atomic::AtomicU64> = counted;
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let _ = symlink(&target, &decoy);
                let _ = renameat_with(CWD, &decoy, CWD, &directory, RenameFlags::EXCHANGE);
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = renameat_with(CWD, &decoy, CWD, &directory, RenameFlags::EXCHANGE);
            }
        });
        Self { stop, swaps, thread: Some(thread) }
    }

    fn swaps(&self) -> u64 {
        self.swaps.load(Ordering::Relaxed)
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// The canary with its mode and time, and that nothing is beside it.
fn outside(world: &World) -> Vec<String> {
    described(&world.directory.path().join("outside"))
}

#[test]
fn a_directory_swapped_for_a_link_while_it_is_written_leads_nothing_out() {
    let mut world = World::with(TreeOptions { delete: true, ..TreeOptions::default() });
    for file in 0..40 {
        world.file(&format!("swapped/{file}"), vec![7; file]);
    }
    world.file("swapped/canary", "stolen");
    world.file("swapped/inner/canary", "stolen");
    world.file("swapped/large", vec![7; 700_000]);
    symlink("x", world.source("swapped/link")).unwrap();
    let before = outside(&world);
    std::fs::create_dir_all(world.dest("swapped")).unwrap();
    let swapper = Swapper::start(world.dest("swapped"), world.directory.path().join("outside"));
    let mut rounds = 0;
    while swapper.swaps() < SWAPS || rounds < 30 {
        // Files, modes and times are new each time, and something is to be removed.
        rounds += 1;
        for file in 0..40 {
            let path = world.source(&format!("swapped/{file}"));
            set_mtime(&path, rounds, 0);
            let mode = if rounds % 2 == 0 { 0o600 } else { 0o644 };
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        let _ = std::fs::write(world.dest("swapped/extra"), "x");
        let _ = std::fs::remove_file(world.directory.path().join("outside/extra"));
        world.options.delete = rounds % 2 == 0;
        // It may fail, and must not do harm.
        let _ = world.copy();
    }
    drop(swapper);
    let _ = std::fs::remove_file(world.directory.path().join("outside/extra"));
    set_mtime_of_outside(&world, &before);
    assert_eq!(outside(&world), before);
}

/// The test itself may have written beside the canary, and so changed the directory's time.
fn set_mtime_of_outside(world: &World, before: &[String]) {
    let root = &before[0];
    let time = root.split(' ').nth(2).unwrap();
    let (secs, nanos) = time.split_once('.').unwrap();
    let path = world.directory.path().join("outside");
    set_mtime(&path, secs.parse().unwrap(), nanos.parse().unwrap());
}

#[test]
fn a_directory_swapped_for_a_link_while_it_is_read_gives_nothing_away() {
    let mut world = World::new();
    world.file("swapped/canary", "own");
    for file in 0..40 {
        world.file(&format!("swapped/{file}"), "own");
    }
    let swapper = Swapper::start(world.source("swapped"), world.directory.path().join("outside"));
    let mut rounds = 0;
    while swapper.swaps() < SWAPS || rounds < 30 {
        rounds += 1;
        world.options.checksum = rounds % 2 == 0;
        let _ = world.copy();
        // What is a link at that moment is copied as one.
        if !world.dest("swapped").is_symlink()
            && let Ok(copied) = std::fs::read(world.dest("swapped/canary"))
        {
            assert_eq!(copied, b"own");
        }
        let _ = std::fs::remove_dir_all(world.dest(""));
    }
}
