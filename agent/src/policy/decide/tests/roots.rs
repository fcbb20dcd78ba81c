//! What does not go with directories.

use super::*;

#[test]
fn roots_go_with_no_owner_and_no_special_bits() {
    let key = key("push = [\"/srv\"]\npull = [\"/srv\"]\n");
    let preserve = |owner, special| Preserve { owner, special, xattrs: true, acls: false };
    let acls = Preserve { acls: true, ..Preserve::default() };
    let options = |preserve| TreeOptions { preserve, ..TreeOptions::default() };
    let file = |preserve, overrides| {
        Request::File(FileRequest::Push(Push { preserve, overrides, ..push("/srv/x") }))
    };
    let none = Overrides::default;
    assert_eq!(said(&key, &file(preserve(false, false), none()), &facts()), "7");
    let chmod = |mode| Overrides { mode: Some(mode), ..none() };
    assert_eq!(
        said(&key, &file(preserve(false, false), chmod(ModeChange::exactly(0o755))), &facts()),
        "7"
    );
    let chown = |user: Option<&str>, group: Option<&str>| Overrides {
        user: user.map(ToOwned::to_owned),
        group: group.map(ToOwned::to_owned),
        ..none()
    };
    for (request, option) in [
        (
            file(preserve(false, false), chmod(ModeChange::exactly(0o4755))),
            "push: keyring.toml:7 does not go with --chmod and setuid, setgid or sticky bits",
        ),
        (file(preserve(true, false), none()), "push: keyring.toml:7 does not go with --owner"),
        (file(preserve(false, true), none()), "push: keyring.toml:7 does not go with --special"),
        (
            file(preserve(false, false), chown(Some("0"), None)),
            "push: keyring.toml:7 does not go with --chown",
        ),
        (
            file(preserve(false, false), chown(None, Some("0"))),
            "push: keyring.toml:7 does not go with --chown",
        ),
        (file(acls, none()), "push: keyring.toml:7 does not go with -A"),
        (push_tree("/srv", options(acls)), "push: keyring.toml:7 does not go with -A"),
        (pull("/srv", Some(options(acls))), "pull: keyring.toml:8 does not go with -A"),
        (
            push_tree("/srv", options(preserve(true, false))),
            "push: keyring.toml:7 does not go with --owner",
        ),
        (
            pull("/srv", Some(options(preserve(false, true)))),
            "pull: keyring.toml:8 does not go with --special",
        ),
    ] {
        assert_eq!(said(&key, &request, &facts()), option);
    }
}
