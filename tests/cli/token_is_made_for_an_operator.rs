//! `wrtc-gateway token`: a token and the line that goes into the configuration.

use std::process::Command;

use wrtc_gateway::config::{OperatorToken, Role};

fn run(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wrtc-gateway"));
    let output = command.arg("token").args(arguments).env_clear().output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(printed).unwrap())
}

#[test]
fn the_line_has_the_hash_and_not_the_token() {
    let (fine, printed) = run(&["--role", "read", "--name", "wall"]);
    assert!(fine, "{printed}");
    let told = |word: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(word)).unwrap();
        line.trim().to_owned()
    };
    let (token, line) = (told("token "), told("line "));
    let parsed = OperatorToken::parse(&line).unwrap();
    assert_eq!((parsed.role, parsed.name.as_str()), (Role::Read, "wall"));
    assert_eq!(token.len(), 32);
    assert!(!line.contains(&token));
    assert_ne!(run(&["--name", "wall"]).1, run(&["--name", "wall"]).1);
}

/// The careless token may look and no more, and says in the log whose it is.
#[test]
fn who_may_act_is_asked_for_and_so_is_the_name() {
    let (fine, printed) = run(&["--name", "wall"]);
    assert!(fine && printed.contains("line   read:wall:"), "{printed}");
    let (fine, printed) = run(&["--name", "alice", "--role", "act"]);
    assert!(fine && printed.contains("line   act:alice:"), "{printed}");
    let (fine, printed) = run(&[]);
    assert!(!fine && printed.contains("--name"), "{printed}");
    assert!(!printed.contains("token  "), "{printed}");
}

#[test]
fn a_name_that_would_not_be_understood_is_refused() {
    for name in ["a:b", "read", ""] {
        let (fine, printed) = run(&["--name", name]);
        assert!(!fine && printed.contains("--name"), "{printed}");
    }
}
