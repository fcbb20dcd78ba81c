//! The agent's program that is copied to hosts, and what it needs there.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::CliError;

/// A program for hosts.
pub(crate) struct Program {
    /// Its file.
    pub(super) path: PathBuf,
    /// Its content.
    pub(super) bytes: Vec<u8>,
    /// Its sum, as `sha256sum` prints it.
    pub(super) sum: String,
    /// The architecture it is for, as `uname` names it.
    pub(super) machine: String,
    /// The version of the C library that it needs at least, as in 2.36; `None` if it needs none.
    pub(super) glibc: Option<(u32, u32)>,
}

/// Largest program, in bytes.
const MAX_LEN: u64 = 1 << 30;

impl Program {
    /// Loads this file, or `lariatd` beside this program; `None` if it is not there.
    pub(crate) fn load(file: Option<&Path>) -> Result<Option<Self>, CliError> {
        let path = if let Some(file) = file {
            file.to_owned()
        } else {
            let own = std::env::current_exe()
                .map_err(|e| CliError::from(e).during("find the path of this program"))?;
            own.with_file_name("lariatd")
        };
        if file.is_none() && !path.exists() {
            return Ok(None);
        }
        let failed =
            |e: std::io::Error| CliError::from(e).during(format!("read {}", path.display()));
        let length = path.metadata().map_err(failed)?.len();
        let wrong = |why: &str| {
            CliError::new(format!("{} {why}", path.display()))
                .hint("--lariatd with an agent for Linux")
        };
        if length > MAX_LEN {
            return Err(wrong("is too large for a program"));
        }
        let bytes = std::fs::read(&path).map_err(failed)?;
        let machine = machine(&bytes).ok_or_else(|| wrong("is no program for Linux (ELF)"))?;
        let (sum, glibc) = (hex::encode(Sha256::digest(&bytes)), glibc(&bytes));
        Ok(Some(Self { path, bytes, sum, machine, glibc }))
    }
}

/// The architecture of an ELF file (elf(5): `e_machine`), as `uname -m` names it.
fn machine(elf: &[u8]) -> Option<String> {
    let header = elf.strip_prefix(b"\x7fELF")?;
    let is_wide = *header.first()? == 2;
    let number = [*elf.get(18)?, *elf.get(19)?];
    let number =
        if *header.get(1)? == 2 { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
    let name = match (number, is_wide) {
        (3, _) => "i686",
        (21, _) => "ppc64le",
        (22, _) => "s390x",
        (40, _) => "armv7l",
        (62, _) => "x86_64",
        (183, _) => "aarch64",
        (243, _) => "riscv64",
        (258, _) => "loongarch64",
        _ => return Some(format!("ELF machine {number}")),
    };
    Some(name.to_owned())
}

/// The newest version of glibc's symbols that a program names: `GLIBC_2.36`.
fn glibc(bytes: &[u8]) -> Option<(u32, u32)> {
    const NAME: &[u8] = b"GLIBC_";
    let version = |at: usize| {
        let text = bytes.get(at.checked_add(NAME.len())?..)?;
        let end = text.iter().take(12).position(|&byte| byte == 0)?;
        version_of(std::str::from_utf8(text.get(..end)?).ok()?)
    };
    memchr::memmem::find_iter(bytes, NAME).filter_map(version).max()
}

/// Two numbers, the beginning of `2.36`, `2.2.5` or `6.1.0-18-amd64`.
pub(super) fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_for_this_machine() {
        let own = std::env::current_exe().unwrap();
        let program = Program::load(Some(&own)).unwrap().unwrap();
        assert_eq!(program.machine, std::env::consts::ARCH);
        assert!(program.glibc.is_none_or(|version| version > (2, 2)), "{:?}", program.glibc);
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("lariatd");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        let why = Program::load(Some(&script)).err().unwrap().line();
        assert!(why.contains("lariatd is no program for Linux (ELF); try: --lariatd"), "{why}");
        assert!(Program::load(Some(&directory.path().join("x"))).is_err());
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(
            glibc(b"xGLIBC_2.2.5\0GLIBC_2.9\0GGLIBC_2.34\0GLIBC_PRIVATE\0GLIBC_9"),
            Some((2, 34))
        );
        assert_eq!(glibc(b"static"), None);
        assert_eq!(version_of("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version_of("x"), None);
        assert_eq!(machine(b"\x7fELF\x02\x01"), None);
    }
}
