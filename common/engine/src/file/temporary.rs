//! Names of temporary files in a destination's directory: `.lariat-HASH.ENDING`. HASH has 32 hexadecimal
//! digits, of which the first twelve are derived from the key and the user, the others from the destination; ENDING
//! is the file's kind.

use rustix::fs::Stat;

use super::owner::Owner;

const PREFIX: &str = ".lariat-";

/// Hexadecimal digits derived from the owner, and digits in all.
const OWNER_LEN: usize = 12;
const HASH_LEN: usize = 32;

/// The kind of a temporary file, which is its name's ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An unfinished file, locked while a transfer uses it.
    Partial,
    /// Lists the chunks in the partial of the same stem. Without a partial it is [`TreeNames::marker`].
    Journal,
    /// A complete file of a tree before its final rename. The tree's root is locked while a transfer uses it.
    Staged,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Partial, Self::Journal, Self::Staged];

    fn ending(self) -> &'static str {
        match self {
            Self::Partial => ".part",
            Self::Journal => ".journal",
            Self::Staged => ".staged",
        }
    }
}

/// The parsed name of a temporary file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Temporary<'a> {
    pub(crate) kind: Kind,
    /// The name without its ending.
    stem: &'a str,
}

impl<'a> Temporary<'a> {
    /// Parses the name of a temporary file. `None` for any other name.
    pub(crate) fn parse(name: &'a [u8]) -> Option<Self> {
        let name = str::from_utf8(name).ok()?;
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        Kind::ALL.into_iter().find_map(|kind| {
            let stem = name.strip_suffix(kind.ending())?;
            let hash = stem.strip_prefix(PREFIX)?;
            let fits = hash.len() == HASH_LEN && hash.bytes().all(hex);
            fits.then_some(Self { kind, stem })
        })
    }

    /// Whether it belongs to this owner.
    pub(crate) fn is_of(&self, owner: Owner) -> bool {
        self.stem[PREFIX.len()..].starts_with(&owner_tag(owner))
    }

    /// The name of this kind with the same stem: a partial's journal, or a journal's partial.
    pub(crate) fn sibling(&self, kind: Kind) -> String {
        format!("{}{}", self.stem, kind.ending())
    }
}

/// Whether a name is that of a temporary file, which trees do not copy and `--delete` spares. A directory never
/// is one.
pub(crate) fn is_temporary(name: &[u8], is_directory: bool) -> bool {
    !is_directory && Temporary::parse(name).is_some()
}

/// The names of a partial and of the files that belong to it.
pub(crate) struct PartialNames {
    pub(crate) part: String,
    pub(crate) journal: String,
    /// The name of the complete file until its final rename.
    pub(crate) aside: String,
}

impl PartialNames {
    /// Derives them from the destination's name.
    pub(crate) fn of(name: &[u8], owner: Owner) -> Self {
        let part = stem(owner, &[name]);
        // No destination's name contains a slash.
        let aside = stem(owner, &[name, b"/aside"]);
        let named = |stem: &str, kind: Kind| format!("{stem}{}", kind.ending());
        Self {
            part: named(&part, Kind::Partial),
            journal: named(&part, Kind::Journal),
            aside: named(&aside, Kind::Partial),
        }
    }
}

/// The names of one tree's temporary files.
pub(crate) struct TreeNames {
    owner: Owner,
    tree: [u8; 16],
}

impl TreeNames {
    /// Derives them from the root's device and inode, so a later attempt at the same tree has the same names.
    pub(crate) fn of_root(owner: Owner, root: &Stat) -> Self {
        let mut tree = [0; 16];
        tree[..8].copy_from_slice(&root.st_dev.to_le_bytes());
        tree[8..].copy_from_slice(&root.st_ino.to_le_bytes());
        Self { owner, tree }
    }

    /// Random names, for a tree whose root can't be locked.
    pub(crate) fn random(owner: Owner) -> std::io::Result<Self> {
        let mut tree = [0; 16];
        let random = rand::rngs::SysRng;
        rand::TryRng::try_fill_bytes(&mut { random }, &mut tree).map_err(std::io::Error::other)?;
        Ok(Self { owner, tree })
    }

    /// The temporary name of a file, in the same directory.
    pub(crate) fn staged(&self, name: &[u8]) -> Vec<u8> {
        (stem(self.owner, &[&self.tree, b"/", name]) + Kind::Staged.ending()).into_bytes()
    }

    /// The name of an empty file in the root, which marks that staged files may exist in the tree.
    pub(crate) fn marker(&self) -> Vec<u8> {
        (stem(self.owner, &[&self.tree, b"/"]) + Kind::Journal.ending()).into_bytes()
    }
}

fn owner_tag(owner: Owner) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(b"owner").update(&owner.key.0).update(&owner.user.to_le_bytes());
    hash.finalize().to_hex()[..OWNER_LEN].to_owned()
}

fn stem(owner: Owner, of: &[&[u8]]) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(&owner.key.0).update(&owner.user.to_le_bytes());
    of.iter().for_each(|part| {
        hash.update(part);
    });
    let hash = &hash.finalize().to_hex()[..HASH_LEN - OWNER_LEN];
    format!("{PREFIX}{}{hash}", owner_tag(owner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_base::name::KeyId;

    fn owner(key: u8, user: u32) -> Owner {
        Owner { key: KeyId([key; 16]), user }
    }

    #[test]
    fn a_name_says_what_it_is_and_whose() {
        let names = PartialNames::of(b"file", owner(1, 0));
        let tree = TreeNames { owner: owner(1, 0), tree: [3; 16] };
        let all = [
            (names.part.clone().into_bytes(), Kind::Partial),
            (names.aside.clone().into_bytes(), Kind::Partial),
            (names.journal.clone().into_bytes(), Kind::Journal),
            (tree.staged(b"file"), Kind::Staged),
            (tree.marker(), Kind::Journal),
        ];
        let mut seen = std::collections::HashSet::new();
        for (name, kind) in &all {
            let temporary = Temporary::parse(name).unwrap();
            assert_eq!(temporary.kind, *kind);
            assert!(temporary.is_of(owner(1, 0)) && seen.insert(name));
            assert!(!temporary.is_of(owner(2, 0)) && !temporary.is_of(owner(1, 1)));
        }
        let part = Temporary::parse(names.part.as_bytes()).unwrap();
        assert_eq!(part.sibling(Kind::Journal), names.journal);
    }

    #[test]
    fn another_owner_directory_name_or_tree_has_other_names() {
        let part = |name: &[u8], key| PartialNames::of(name, owner(key, 0)).part;
        assert_ne!(part(b"a", 1), part(b"b", 1));
        assert_ne!(part(b"a", 1), part(b"a", 2));
        let staged = |tree| TreeNames { owner: owner(1, 0), tree }.staged(b"a");
        assert_eq!(staged([1; 16]), staged([1; 16]));
        assert_ne!(staged([1; 16]), staged([2; 16]));
    }

    #[test]
    fn other_names_are_none() {
        for name in [
            "file.part",
            ".lariat-.part",
            ".lariat-0123456789abcdef0123456789abcde.part",
            ".lariat-0123456789ABCDEF0123456789abcdef.part",
            ".lariat-0123456789abcdef0123456789abcdef.part~",
            ".lariat-0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(Temporary::parse(name.as_bytes()), None, "{name}");
        }
        let name = b".lariat-0123456789abcdef0123456789abcdef.part";
        assert!(is_temporary(name, false) && !is_temporary(name, true));
    }
}
