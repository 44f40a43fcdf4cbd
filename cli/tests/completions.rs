//! `memring completions`: every command and flag is there, and bash takes the script. Must not know the scripts' insides.

use std::io::Write;
use std::process::{Command, Stdio};

mod real;

use real::{ended, memring};

#[test]
fn every_shell_is_told_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, stderr) = ended(&mut memring(&["completions", shell]));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{shell}");
        for word in ["status", "get", "drain", "bench", "multi-get", "memory-limit"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
    }
    let (code, _, stderr) = ended(&mut memring(&["completions", "tcsh"]));
    assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
}

#[test]
fn bash_completes_with_it() {
    let (_, script, _) = ended(&mut memring(&["completions", "bash"]));
    let mut bash = Command::new("bash");
    let mut bash = bash.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash is there");
    let ask = "\nCOMP_WORDS=(memring sta) COMP_CWORD=1; _memring memring sta memring; echo \"${COMPREPLY[*]}\"\n";
    bash.stdin.take().expect("piped").write_all((script + ask).as_bytes()).expect("written");
    let told = bash.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&told.stdout), "status stats\n");
}
