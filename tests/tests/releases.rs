//! Which commits are releases: an older one can be built from its commit, to be mixed with nodes of this tree.

use std::path::Path;
use std::process::Command;

/// Version and commit of each, oldest first.
const RELEASES: &[(&str, &str)] = &[("0.1.0", "d0da5bee08ec56ab343767f3c7038eae16f9e01b")];

/// What git prints; `None` where there is no git or no history, as in an unpacked archive.
fn git(arguments: &[&str]) -> Option<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests package lies in the workspace");
    let output = Command::new("git").current_dir(top).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn each_release_is_a_commit_of_that_version() {
    if git(&["rev-parse", "--is-shallow-repository"]).is_none_or(|answer| answer.trim() != "false") {
        return;
    }
    for (version, commit) in RELEASES {
        let manifest = git(&["show", &format!("{commit}:Cargo.toml")]);
        let manifest = manifest.unwrap_or_else(|| panic!("{version}: there is no commit {commit}"));
        assert!(manifest.contains(&format!("version = \"{version}\"")), "{commit} is not {version}");
        assert!(git(&["merge-base", "--is-ancestor", commit, "HEAD"]).is_some(), "{commit} is not in this tree's past");
    }
}
