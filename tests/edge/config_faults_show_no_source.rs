//! What is wrong with a file is told by its line's number: the line itself may hold a secret.

use wrtc_gateway::config::Config;

use crate::support::File;

#[test]
fn a_line_that_is_no_toml_is_not_shown() {
    for (text, line) in [
        ("[turn]\nsecret = \"hush-hush\n", 2),
        ("[turn]\nsecret = hush-hush\n", 2),
        ("[turn]\n\nsecret: \"hush-hush\"\n", 3),
        ("[connector]\ntokens = [\"hush=5001\" \"hush=5002\"]\n", 2),
        ("[connector]\ntokens = [\n  \"hush=5001\"\n  \"hush=5002\"\n]\n", 4),
        ("[turn]\nsecret = \"hush\\qhush\"\n", 2),
        ("hush-hush\n", 1),
        ("[turn]\nsecret = \"\"\"hush\nhush\n7 hush\n", 0),
    ] {
        let file = File::new(text);
        let sets = ["sip.servers=a.example".to_owned()];
        let fault = Config::load(Some(&file.path), [], &sets).unwrap_err().to_string();
        assert!(fault.contains("it is not TOML"), "{text}: {fault}");
        assert!(!fault.contains("hush"), "{text}: {fault}");
        // Where a text ends that does not is a matter of taste.
        assert!(line == 0 || fault.contains(&format!("line {line}")), "{text}: {fault}");
    }
}
